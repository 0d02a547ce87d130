//! What routes answer beside what they are for, as the document has it.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses,
    openapi::{
        ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder,
        schema::{KnownFormat, SchemaFormat, SchemaType, Type},
    },
};

type Documented = BTreeMap<String, RefOr<Response>>;

fn problem(status: u16, description: &str) -> (String, RefOr<Response>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let mut response = ResponseBuilder::new().description(description).content("application/problem+json", content);
    if status == 429 {
        let seconds = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Integer))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .build();
        let header = HeaderBuilder::new()
            .schema(Some(seconds))
            .description(Some("Seconds after which it is worth asking again"))
            .build();
        response = response.header("Retry-After", header);
    }
    (status.to_string(), response.build().into())
}

/// Of every route behind the door.
fn door() -> Documented {
    Documented::from([
        problem(401, "A key is needed"),
        problem(403, "The host is called by a name that it does not go by"),
        problem(500, "The server failed"),
    ])
}

/// Of a route that refuses nobody but at the door.
pub(crate) struct DoorRefusals;

impl IntoResponses for DoorRefusals {
    fn responses() -> Documented {
        door()
    }
}

/// Of a route that asks the records.
pub(crate) struct RecordRefusals;

impl IntoResponses for RecordRefusals {
    fn responses() -> Documented {
        let mut all = door();
        all.extend([
            problem(400, "A parameter makes no sense"),
            problem(404, "There is no such execution, or it is another key's, or no longer kept"),
            problem(503, "The records cannot be reached"),
        ]);
        all
    }
}

/// Of a route that lists records.
pub(crate) struct ListRefusals;

impl IntoResponses for ListRefusals {
    fn responses() -> Documented {
        let mut all = RecordRefusals::responses();
        all.remove("404");
        all
    }
}

/// Of a route that takes a program to run.
pub(crate) struct ProgramRefusals;

impl IntoResponses for ProgramRefusals {
    fn responses() -> Documented {
        let mut all = door();
        all.extend([
            problem(400, "The request makes no sense"),
            problem(408, "The request took too long to arrive"),
            problem(409, "The idempotency key belongs to another request"),
            problem(413, "The request or the program is too large"),
            problem(415, "The body is declared to be neither JSON nor a form"),
            problem(422, "The program breaks a rule"),
            problem(429, "As many programs run and wait as may, or the key has asked too often"),
            problem(503, "The server is stopping, cannot run programs, or cannot record them"),
        ]);
        all
    }
}
