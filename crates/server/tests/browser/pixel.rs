//! The pixel on the sites of others: what it must do in each case, on each kind of site, as the store tells it.

mod cost;
mod disclosure;
mod gate;
mod nginx;
mod site;
mod stage;
mod table;
mod web;
