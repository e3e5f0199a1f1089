//! A throw-away certificate authority for the demo and for docker-compose.yml: it signs one certificate, and its key is
//! gone before anybody could use it again.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// `nearside demo certificates`, for docker-compose.yml.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folder to write ca.pem, chain.pem and key.pem into
    #[arg(long)]
    dir: PathBuf,
    /// Names that the certificate is good for
    #[arg(required = true)]
    hosts: Vec<String>,
}

/// Writes the files, unless they are there.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if ["ca.pem", "chain.pem", "key.pem"]
        .iter()
        .all(|name| arguments.dir.join(name).exists())
    {
        return Ok(());
    }
    write(&arguments.dir, &arguments.hosts).map(|_| ())
}

/// What was written.
pub(super) struct Files {
    /// The authority's certificate (PEM): what a client has to trust.
    pub(super) ca: PathBuf,
    /// The site's certificate.
    pub(super) chain: PathBuf,
    /// Its private key, mode 0600.
    pub(super) key: PathBuf,
}

/// Makes an authority and one certificate for `hosts`, good until the end of next year.
pub(super) fn write(dir: &Path, hosts: &[String]) -> Result<Files> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let end = rcgen::date_time_ymd(this_year() + 1, 12, 31);

    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "Nearside demo, throw-away authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.not_after = end;
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(hosts)?;
    leaf.distinguished_name
        .push(DnType::CommonName, hosts.first().map_or("", String::as_str));
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    leaf.not_after = end;
    let leaf = leaf.signed_by(&key, &authority)?;

    let files = Files {
        ca: dir.join("ca.pem"),
        chain: dir.join("chain.pem"),
        key: dir.join("key.pem"),
    };
    create(&files.ca, 0o644, &authority.pem())?;
    create(&files.chain, 0o644, &leaf.pem())?;
    create(&files.key, 0o600, &key.serialize_pem())?;
    Ok(files)
}

fn create(path: &Path, mode: u32, text: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Near enough for an end of validity: years of 365.2425 days since 1970.
fn this_year() -> i32 {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    1970 + i32::try_from(seconds / 31_556_952).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::write;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_authority_signs_one_certificate_and_leaves_no_key_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = write(folder.path(), &["shop.example".to_owned()]).expect("written");
        let pem = std::fs::read(&files.chain).expect("a chain");
        let (_, block) = x509_parser::pem::parse_x509_pem(&pem).expect("PEM");
        let leaf = block.parse_x509().expect("a certificate");
        let ca_pem = std::fs::read(&files.ca).expect("an authority");
        let (_, ca_block) = x509_parser::pem::parse_x509_pem(&ca_pem).expect("PEM");
        let authority = ca_block.parse_x509().expect("a certificate");
        assert_eq!(leaf.issuer(), authority.subject());
        let mode = std::fs::metadata(&files.key)
            .expect("a key")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 3);
    }
}
