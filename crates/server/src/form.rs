//! A request as a form: the program and its files as parts, so that files need no encoding.

use aevatar_sandbox_contract::InputFile;
use axum::body::Bytes;
use multer::Multipart;
use utoipa::ToSchema;

use crate::{
    json,
    problem::{Problem, ProblemCode},
    request::ExecuteRequest,
};

/// The part that is the request itself.
const REQUEST: &str = "request";
/// Parts that are read.
const MAX_PARTS: usize = 200;

/// A program and its files.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct ProgramForm {
    /// The same as of a request that is JSON.
    request: String,
    /// Files; the file name of each is its path in `/work`.
    #[schema(value_type = Vec<String>, format = Binary, required = false)]
    files: Vec<Bytes>,
}

/// Reads a form.
///
/// # Errors
/// It is none, has no part `request`, or one that makes no sense.
pub(crate) async fn read(bytes: Vec<u8>, boundary: String) -> Result<ExecuteRequest, Problem> {
    let stream = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(bytes))]);
    let mut form = Multipart::new(stream, boundary);
    let (mut request, mut files) = (None, Vec::new());
    let mut parts = 0;
    while let Some(part) = form.next_field().await.map_err(|error| broken(&error))? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(Problem::new(ProblemCode::InvalidRequest, format!("the form has more than {MAX_PARTS} parts")));
        }
        let (name, path) = (part.name().map(str::to_owned), part.file_name().map(str::to_owned));
        let content = part.bytes().await.map_err(|error| broken(&error))?;
        match (name.as_deref(), path) {
            (Some(REQUEST), _) if request.is_none() => {
                request = Some(json::read::<ExecuteRequest>(&content, &ExecuteRequest::SHAPE)?);
            }
            (Some(REQUEST), _) => {
                return Err(
                    Problem::new(ProblemCode::InvalidRequest, "the part `request` is given twice").with_field(REQUEST)
                );
            }
            (_, Some(path)) => files.push(InputFile { path, content: content.into() }),
            (name, None) => {
                let shown: String = name.unwrap_or_default().chars().take(64).collect();
                return Err(Problem::new(
                    ProblemCode::InvalidRequest,
                    format!("the form has a part `{shown}` that is no file"),
                )
                .with_hint("a form has a part `request`, which is JSON, and files with a file name each"));
            }
        }
    }
    let mut request = request.ok_or_else(|| {
        Problem::new(ProblemCode::InvalidRequest, "the form has no part `request`")
            .with_field(REQUEST)
            .with_hint("put the request there as JSON, as in {\"code\": \"print(1)\"}")
    })?;
    request.form_files = files;
    Ok(request)
}

fn broken(error: &multer::Error) -> Problem {
    Problem::new(ProblemCode::InvalidRequest, format!("the form could not be read: {error}"))
        .with_hint("send `multipart/form-data` as `curl --form` does")
}
