//! What the rules cost: one event read, parsed and classified; one decision; 10,000 touches under each model.
//! `cargo bench -p leadtrail-domain --bench rules`.

#[path = "world/subjects.rs"]
mod subjects;

use std::hint::black_box;

use criterion::Criterion;
use leadtrail_domain::model::Model;
use subjects::Subjects;

fn main() {
    let subjects = Subjects::new();
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("event/read", |bench| bench.iter(|| black_box(Subjects::read())));
    let raw = Subjects::read();
    criterion
        .bench_function("event/parse and classify", |bench| bench.iter(|| black_box(subjects.parse(&raw))));
    criterion.bench_function("landing/classify", |bench| bench.iter(|| black_box(subjects.classify())));
    criterion.bench_function("decision/inside a session", |bench| {
        bench.iter(|| black_box(subjects.decide_inside()));
    });
    criterion.bench_function("decision/arrival", |bench| bench.iter(|| black_box(subjects.decide_arrival())));
    for model in Model::ALL {
        criterion.bench_function(&format!("credits of {}/{model}", subjects::PATH), |bench| {
            bench.iter(|| black_box(subjects.credits(model)));
        });
    }
    criterion.final_summary();
}
