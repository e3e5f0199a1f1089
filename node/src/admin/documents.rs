//! Sites and zones: checked here, then proposed as the operator wrote them.

use std::collections::HashMap;
use std::sync::Arc;

use nearside_cluster::{Change, Document, NewDocument, State};

use super::api::{
    Apply, DOCUMENTS_MAX, DocumentFacts, DocumentText, Documents, WriteOptions, Written,
};
use super::clash;
use super::control::{Control, author};
use super::error::AdminError;
use crate::config::site::Site;
use crate::config::zone::Zone;
use crate::config::{nearest, site_file, zone_file};

/// Sites or zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `/api/v1/sites`.
    Site,
    /// `/api/v1/zones`.
    Zone,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Zone => "zone",
        }
    }

    fn documents(self, state: &State) -> &std::collections::BTreeMap<String, Arc<Document>> {
        match self {
            Self::Site => &state.sites,
            Self::Zone => &state.zones,
        }
    }
}

/// Documents that passed every check this node can make.
struct Checked {
    documents: Vec<NewDocument>,
    warnings: Vec<String>,
}

impl Control {
    pub(super) fn documents(&self, kind: Kind) -> Documents {
        let state = self.parts.cluster.state();
        let documents = kind.documents(&state).values();
        Documents {
            documents: documents.map(|document| facts(document)).collect(),
        }
    }

    pub(super) fn document(&self, kind: Kind, name: &str) -> Result<DocumentText, AdminError> {
        let state = self.parts.cluster.state();
        let documents = kind.documents(&state);
        let document = documents.get(name).ok_or_else(|| {
            let word = kind.word();
            let hint = match nearest(name, documents.keys().map(String::as_str)) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("see `nearside {word} list`"),
            };
            AdminError::Unknown(format!("there is no {word} \"{name}\"; {hint}"))
        })?;
        Ok(DocumentText {
            facts: facts(document),
            text: document.text.clone(),
        })
    }

    /// Sets documents, all or none.
    pub(super) async fn apply(&self, kind: Kind, request: Apply) -> Result<Written, AdminError> {
        let checked = match kind {
            Kind::Site => self.check_sites(&request)?,
            Kind::Zone => self.check_zones(&request)?,
        };
        let names: Vec<String> = checked.documents.iter().map(|it| it.name.clone()).collect();
        if request.dry_run {
            return Ok(Written {
                index: None,
                names,
                warnings: checked.warnings,
                receipts: Vec::new(),
                missing: Vec::new(),
            });
        }
        let documents = checked.documents;
        let author = author(request.options.author.clone());
        let change = match kind {
            Kind::Site => Change::SitesApplied { documents, author },
            Kind::Zone => Change::ZonesApplied { documents, author },
        };
        self.write(change, names, checked.warnings, &request.options)
            .await
    }

    pub(super) async fn remove(
        &self,
        kind: Kind,
        name: &str,
        expected_revision: Option<u64>,
        options: &WriteOptions,
    ) -> Result<Written, AdminError> {
        self.document(kind, name)?;
        let author = author(options.author.clone());
        let name = name.to_owned();
        let names = vec![name.clone()];
        let change = match kind {
            Kind::Site => Change::SiteRemoved {
                name,
                expected_revision,
                author,
            },
            Kind::Zone => Change::ZoneRemoved {
                name,
                expected_revision,
                author,
            },
        };
        self.write(change, names, Vec::new(), options).await
    }

    fn check_sites(&self, request: &Apply) -> Result<Checked, AdminError> {
        let sites: Vec<(String, Site)> = parse_all(request, site_file::parse)?;
        let named = sites.iter().map(|(file, site)| (file.as_str(), site));
        clash::sites(named).map_err(AdminError::Document)?;
        let mut warnings = Vec::new();
        for (file, site) in &sites {
            clash::own_listener(site, &self.parts.settings)
                .map_err(|what| AdminError::Document(format!("{file}: {what}")))?;
            let wanted = site.tls.certificate.as_deref();
            if let Some(name) = wanted.filter(|name| !self.has_certificate(name)) {
                warnings.push(format!(
                    "{file}: the certificate \"{name}\" is not in the node file here; each node that serves HTTPS needs it"
                ));
            }
        }
        let documents = sites.into_iter().zip(&request.documents);
        let documents = documents.map(|((_, site), document)| NewDocument {
            name: site.name.to_string(),
            hosts: site.hosts.iter().map(ToString::to_string).collect(),
            text: document.text.clone(),
            expected_revision: document.expected_revision,
        });
        Ok(Checked {
            documents: documents.collect(),
            warnings,
        })
    }

    fn check_zones(&self, request: &Apply) -> Result<Checked, AdminError> {
        let zones: Vec<(String, Zone)> = parse_all(request, zone_file::parse)?;
        let mut seen: HashMap<&str, &str> = HashMap::new();
        let members = self.member_names();
        let mut warnings = Vec::new();
        for (file, zone) in &zones {
            if let Some(other) = seen.insert(&zone.name, file) {
                let what = format!("{file}: the zone \"{}\" is in {other} too", zone.name);
                return Err(AdminError::Document(what));
            }
            for (label, node) in &zone.nameservers {
                if !members.contains(&**node) {
                    warnings.push(format!(
                        "{file}: the name server {label} stands on \"{node}\", which is no member yet"
                    ));
                }
            }
        }
        let documents = zones.into_iter().zip(&request.documents);
        let documents = documents.map(|((_, zone), document)| NewDocument {
            name: zone.name.to_string(),
            hosts: Vec::new(),
            text: document.text.clone(),
            expected_revision: document.expected_revision,
        });
        Ok(Checked {
            documents: documents.collect(),
            warnings,
        })
    }

    fn has_certificate(&self, name: &str) -> bool {
        self.parts.settings.certificates.contains_key(name)
    }
}

fn parse_all<T>(
    request: &Apply,
    parse: fn(&str, &str) -> Result<T, crate::config::ConfigError>,
) -> Result<Vec<(String, T)>, AdminError> {
    let count = request.documents.len();
    if !(1..=DOCUMENTS_MAX).contains(&count) {
        let what = format!("a change sets 1 to {DOCUMENTS_MAX} documents, not {count}");
        return Err(AdminError::Malformed(what));
    }
    let parsed = request
        .documents
        .iter()
        .enumerate()
        .map(|(index, document)| {
            let file = document
                .file
                .clone()
                .unwrap_or_else(|| format!("document {}", index + 1));
            let parsed = parse(&document.text, &file)?;
            Ok((file, parsed))
        });
    parsed.collect()
}

fn facts(document: &Document) -> DocumentFacts {
    DocumentFacts {
        name: document.name.clone(),
        hosts: document.hosts.clone(),
        revision: document.revision,
        author: document.author.clone(),
        changed_ms: document.changed_ms,
    }
}
