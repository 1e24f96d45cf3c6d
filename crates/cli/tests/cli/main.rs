//! The command line as its users see it: files in; files, text and exit codes out.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

mod assignment;
mod bad_data;
mod bad_networks;
mod bad_options;
mod browser;
mod budgets;
mod commands;
mod compare;
mod divergence;
mod ecosystem;
mod explain;
mod files;
mod folder;
mod layouts;
mod losses;
mod memory;
mod outputs;
mod pipes;
mod plans;
mod profile;
mod report;
mod saved;
mod targets;
mod threads;
mod training;
