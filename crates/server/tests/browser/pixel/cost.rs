//! What the pixel costs the page that it stands in.
//!
//! Durations are printed (`cargo xtask test -- -p leadtrail-server --test browser cost -- --nocapture`) and never
//! asserted: they are the machine's. What is asserted does not depend on its mood.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::site::{Page, Setup};
use super::stage::{Case, on_every_site};
use crate::process::PATIENCE;

const PIXEL: &str = "/pixel.js";

/// What a task of a page is called where a script runs in it.
const TASKS: [&str; 4] = ["EvaluateScript", "FunctionCall", "v8.compile", "RunMicrotasks"];
/// What the browser does about a page's style and layout.
const LAYOUTS: [&str; 3] = ["Layout", "UpdateLayoutTree", "RecalculateStyles"];

/// A piece of work of the pixel on the page's thread.
struct Work {
    name: String,
    /// Milliseconds from its begin to its end: on a busy machine mostly of waiting for the processor.
    lasted: f64,
    /// Milliseconds of the processor.
    computed: f64,
}

/// What was recorded of one page.
struct Cost {
    work: Vec<Work>,
    /// How often a script made the browser compute the layout at once, by the script's address.
    forced: Vec<String>,
}

impl Cost {
    fn of(recorded: &[Value]) -> Self {
        let is_one = |event: &Value, names: &[&str]| {
            event["ph"] == "X" && event["name"].as_str().is_some_and(|name| names.contains(&name))
        };
        let is_ours = |event: &Value| {
            event["args"]["data"]["url"]
                .as_str()
                .is_some_and(|url| url.split('?').next().unwrap_or_default().ends_with(PIXEL))
        };
        let millis = |event: &Value, name: &str| event[name].as_f64().unwrap_or_default() / 1_000.0;
        let work = recorded.iter().filter(|event| is_one(event, &TASKS) && is_ours(event));
        let work = work.map(|event| Work {
            name: event["name"].as_str().unwrap_or_default().to_owned(),
            lasted: millis(event, "dur"),
            computed: millis(event, "tdur"),
        });
        let forced = recorded.iter().filter(|event| is_one(event, &LAYOUTS)).filter_map(|event| {
            let args = &event["args"];
            let stacks = [&args["beginData"]["stackTrace"], &args["data"]["stackTrace"], &args["stackTrace"]];
            stacks.into_iter().find_map(|stack| stack[0]["url"].as_str()).map(str::to_owned)
        });
        Self { work: work.collect(), forced: forced.collect() }
    }
}

/// Lives a page's life with the pixel: it is loaded, moves on while its layout is out of date, names an event and sends
/// a form.
fn live(case: &mut Case<'_>) -> Result<()> {
    case.open("/form")?;
    case.await_views(1)?;
    case.run("change(); history.pushState(null, '', '/moved')")?;
    case.await_views(2)?;
    case.run("change(); leadtrail('event', 'signup')")?;
    case.run("change(); document.forms[0].requestSubmit()")?;
    case.leads_are(&["ada@example.com"]).map(drop)
}

#[test]
fn the_pixel_blocks_nothing_and_forces_no_layout() -> Result<()> {
    const CHANGES: &str = "window.change = () => {
            document.body.append(document.createElement('p'), 'more');
        };
        window.force = () => { change(); return document.body.offsetHeight; };
        document.forms[0].addEventListener('submit', submission => submission.preventDefault());
        window.longTasks = [];
        new PerformanceObserver(list => longTasks.push(...list.getEntries().map(task => task.duration)))
            .observe({ type: 'longtask', buffered: true });";
    const PAGE: Page = Page::new(
        "/form",
        "<form action=/thanks method=post><input name=email value=ada@example.com><button>Send</button></form>",
    )
    .script(CHANGES);
    let recording = std::sync::Mutex::new(());
    on_every_site(Setup { pages: &[PAGE], ..Setup::default() }, |case| {
        // The browser records one page at a time.
        let _turn = recording.lock();
        case.page.record()?;
        live(case)?;
        case.run("force()")?;
        let (blocking, long_tasks) = blocking(case)?;
        let cost = Cost::of(case.page.recorded(PATIENCE)?);
        println!("{:?}: long tasks (over 50 ms) of the page, whosever, in ms: {long_tasks}", case.kind);
        for Work { name, lasted, computed } in &cost.work {
            println!("    {name:15} computed {computed:6.2} ms, lasted {lasted:7.2} ms");
        }
        ensure!(!cost.work.is_empty(), "nothing of the pixel is recorded");
        ensure!(blocking == "non-blocking", "the script is {blocking}");
        ensure!(!cost.forced.is_empty(), "what the page itself forced is not recorded");
        let ours: Vec<&String> = cost.forced.iter().filter(|url| url.ends_with(PIXEL)).collect();
        ensure!(ours.is_empty(), "the pixel forces {} layouts", ours.len());
        case.is_quiet()
    })
}

/// Whether the page waited for the script before it was shown, and the long tasks it had.
fn blocking(case: &mut Case<'_>) -> Result<(String, Value)> {
    let status = "performance.getEntriesByType('resource')
        .filter(one => new URL(one.name).pathname.endsWith('/pixel.js'))
        .map(one => one.renderBlockingStatus).join()";
    let status = case.page.evaluate(status)?.as_str().unwrap_or_default().to_owned();
    Ok((status, case.page.evaluate("longTasks")?))
}
