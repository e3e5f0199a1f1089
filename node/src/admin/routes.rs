//! Paths and methods → [`Control`].

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::api::{
    Apply, ApplyDocument, DocumentText, Drain, NewToken, Prefetch, PurgeRequest, Put, Question,
    WriteOptions,
};
use super::control::Control;
use super::documents::Kind;
use super::error::AdminError;

/// Longest body, bytes: many documents in one change.
const BODY_MAX: usize = 16 << 20;

type Answer = Result<HttpResponse, AdminError>;
type Shared = web::Data<Control>;

/// Every path of the admin listeners.
pub(super) fn all(app: &mut web::ServiceConfig) {
    let json = web::JsonConfig::default().limit(BODY_MAX);
    let json = json.error_handler(|error, _| malformed(&error).into());
    let query = web::QueryConfig::default().error_handler(|error, _| malformed(&error).into());
    app.app_data(json)
        .app_data(query)
        .configure(probes)
        .service(
            web::scope("/api/v1")
                .route("/status", web::get().to(status))
                .route("/members", web::get().to(members))
                .route("/members/{name}/drain", web::post().to(drain))
                .route("/members/{name}", web::delete().to(remove_member))
                .route("/cluster/init", web::post().to(init))
                .route("/join-tokens", web::get().to(tokens))
                .route("/join-tokens", web::post().to(make_token))
                .route("/join-tokens/{id}", web::delete().to(revoke_token))
                .route("/purges", web::post().to(purge))
                .route("/explain", web::post().to(explain))
                .route("/prefetch", web::post().to(prefetch))
                .route("/route", web::get().to(route))
                .route("/geo", web::get().to(geo))
                .service(documents("/sites", Kind::Site))
                .service(documents("/zones", Kind::Zone)),
        )
        .default_service(web::to(nothing_here));
}

/// `/healthz` and `/readyz`, on every listener of ours.
pub(super) fn probes(app: &mut web::ServiceConfig) {
    app.route("/healthz", web::get().to(healthz))
        .route("/readyz", web::get().to(readyz));
}

fn documents(path: &str, kind: Kind) -> actix_web::Scope {
    web::scope(path)
        .app_data(web::Data::new(kind))
        .route("", web::get().to(list))
        .route("", web::post().to(apply))
        .route("/{name}", web::get().to(show))
        .route("/{name}", web::put().to(put))
        .route("/{name}", web::delete().to(remove))
}

fn malformed(error: &dyn std::error::Error) -> AdminError {
    AdminError::Malformed(format!("the request cannot be read: {error}"))
}

async fn nothing_here(request: HttpRequest) -> Answer {
    let path = request.path();
    Err(AdminError::Unknown(format!(
        "there is no {} {path} here; the API is under /api/v1",
        request.method()
    )))
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().body("ok\n")
}

async fn readyz(control: Shared) -> HttpResponse {
    match control.not_ready() {
        None => HttpResponse::Ok().body("ready\n"),
        Some(why) => HttpResponse::ServiceUnavailable().body(format!("not ready: {why}\n")),
    }
}

async fn status(control: Shared) -> Answer {
    Ok(HttpResponse::Ok().json(control.status()))
}

async fn members(control: Shared) -> Answer {
    Ok(HttpResponse::Ok().json(control.members()))
}

async fn drain(control: Shared, name: web::Path<String>, body: web::Json<Drain>) -> Answer {
    Ok(HttpResponse::Ok().json(control.drain(&name, *body).await?))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RemoveQuery {
    force: bool,
}

async fn remove_member(
    control: Shared,
    name: web::Path<String>,
    query: web::Query<RemoveQuery>,
) -> Answer {
    let written = control.remove_member(&name, query.force).await?;
    Ok(HttpResponse::Ok().json(written))
}

async fn init(control: Shared) -> Answer {
    Ok(HttpResponse::Ok().json(control.init().await?))
}

async fn tokens(control: Shared) -> Answer {
    Ok(HttpResponse::Ok().json(control.tokens()))
}

async fn make_token(control: Shared, body: web::Json<NewToken>) -> Answer {
    let made = control.make_token(body.into_inner()).await?;
    Ok(HttpResponse::Created().json(made))
}

async fn revoke_token(control: Shared, id: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok().json(control.revoke_token(&id).await?))
}

async fn purge(control: Shared, body: web::Json<PurgeRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(control.purge(body.into_inner()).await?))
}

async fn prefetch(control: Shared, body: web::Json<Prefetch>) -> Answer {
    Ok(HttpResponse::Ok().json(control.prefetch(body.into_inner()).await?))
}

async fn explain(control: Shared, body: web::Json<Question>) -> Answer {
    Ok(HttpResponse::Ok().json(control.explain(body.into_inner()).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteQuery {
    address: String,
    host: Option<String>,
}

async fn route(control: Shared, query: web::Query<RouteQuery>) -> Answer {
    let route = control.route(&query.address, query.host.as_deref())?;
    Ok(HttpResponse::Ok().json(route))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GeoQuery {
    address: String,
}

async fn geo(control: Shared, query: web::Query<GeoQuery>) -> Answer {
    Ok(HttpResponse::Ok().json(control.geo(&query.address)?))
}

async fn list(control: Shared, kind: web::Data<Kind>) -> Answer {
    Ok(HttpResponse::Ok().json(control.documents(**kind)))
}

async fn apply(control: Shared, kind: web::Data<Kind>, body: web::Json<Apply>) -> Answer {
    let written = control.apply(**kind, body.into_inner()).await?;
    Ok(HttpResponse::Ok().json(written))
}

async fn show(control: Shared, kind: web::Data<Kind>, name: web::Path<String>) -> Answer {
    let document = control.document(**kind, &name)?;
    let tag = etag(&document);
    Ok(HttpResponse::Ok()
        .insert_header((header::ETAG, tag))
        .json(document))
}

fn etag(document: &DocumentText) -> String {
    format!("\"{}\"", document.facts.revision)
}

async fn put(
    control: Shared,
    kind: web::Data<Kind>,
    name: web::Path<String>,
    request: HttpRequest,
    body: web::Json<Put>,
) -> Answer {
    let expected_revision = expected_revision(&request)?;
    let Put { text, options } = body.into_inner();
    // The name is in the path and in the text; a dry run says what the text's is.
    let document = ApplyDocument {
        file: Some(name.to_string()),
        text,
        expected_revision,
    };
    let mut change = Apply {
        documents: vec![document],
        dry_run: true,
        options,
    };
    let checked = control.apply(**kind, change.clone()).await?;
    if checked.names != [name.as_str()] {
        return Err(AdminError::Document(format!(
            "the text is of \"{}\", and the path says \"{name}\"",
            checked.names.join(", ")
        )));
    }
    change.dry_run = false;
    Ok(HttpResponse::Ok().json(control.apply(**kind, change).await?))
}

async fn remove(
    control: Shared,
    kind: web::Data<Kind>,
    name: web::Path<String>,
    request: HttpRequest,
    options: web::Query<WriteOptions>,
) -> Answer {
    let expected = expected_revision(&request)?;
    let written = control.remove(**kind, &name, expected, &options).await?;
    Ok(HttpResponse::Ok().json(written))
}

/// `If-Match: "12"` → the document must be at 12; `If-None-Match: *` → it must not exist.
fn expected_revision(request: &HttpRequest) -> Result<Option<u64>, AdminError> {
    let field = |name: header::HeaderName| {
        let value = request.headers().get(name)?;
        value.to_str().ok()
    };
    if field(header::IF_NONE_MATCH) == Some("*") {
        return Ok(Some(0));
    }
    match field(header::IF_MATCH) {
        None | Some("*") => Ok(None),
        Some(tag) => tag.trim_matches('"').parse().map(Some).map_err(|_| {
            AdminError::Malformed(format!(
                "If-Match carries a revision in quotes, as ETag said it, not {tag}"
            ))
        }),
    }
}
