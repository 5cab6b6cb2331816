//! The table of cases, a test per row. What is asserted is what the service stored.

use anyhow::Result;

use super::site::Setup;
use super::stage::on_every_site;

/// load; pushState to a new path; pushState with a new query only; replaceState to a new path; history.back
#[test]
fn each_address_that_is_shown_is_one_page_view() -> Result<()> {
    on_every_site(Setup::default(), |case| {
        case.open("/")?;
        case.await_views(1)?;
        case.run("history.pushState(null, '', '/a')")?;
        case.await_views(2)?;
        case.run("history.pushState(null, '', '/a?color=red')")?;
        case.await_views(3)?;
        case.run("history.replaceState(null, '', '/b')")?;
        case.await_views(4)?;
        case.run("history.back()")?;
        case.views_are(&["/", "/a", "/a?color=red", "/b", "/a"])?;
        case.is_quiet()
    })
}
