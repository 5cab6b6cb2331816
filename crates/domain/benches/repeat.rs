//! One of the measured functions a number of times and nothing else, for tools that count instructions and allocations,
//! which are repeatable where time is not. What one call costs is the difference between two counts:
//!
//! ```text
//! cargo bench -p leadtrail-domain --bench repeat --no-run
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/deps/repeat-… parse 1000
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/deps/repeat-… parse 2000
//! ```
//!
//! `valgrind` alone counts allocations in the same way ("total heap usage").

#![expect(clippy::print_stderr, reason = "says what it can be asked for")]

#[path = "world/subjects.rs"]
mod subjects;

use std::hint::black_box;

use leadtrail_domain::model::Model;
use subjects::Subjects;

const NAMES: &str = "read, parse, classify, inside, arrival or a model's name";

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [name, times] = arguments.as_slice() else {
        eprintln!("repeat NAME TIMES: NAME is {NAMES}");
        return;
    };
    let times: u32 = times.parse().unwrap_or(1);
    let subjects = Subjects::new();
    let raw = Subjects::read();
    let each = |call: &dyn Fn()| (0..times).for_each(|_| call());
    match name.as_str() {
        "read" => each(&|| drop(black_box(Subjects::read()))),
        "parse" => each(&|| drop(black_box(subjects.parse(&raw)))),
        "classify" => each(&|| drop(black_box(subjects.classify()))),
        "inside" => each(&|| drop(black_box(subjects.decide_inside()))),
        "arrival" => each(&|| drop(black_box(subjects.decide_arrival()))),
        model => match model.parse::<Model>() {
            Ok(model) => each(&|| drop(black_box(subjects.credits(model)))),
            Err(_not_a_model) => eprintln!("`{model}` is none of {NAMES}"),
        },
    }
}
