//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use leadtrail_app::hygiene::{DAYS_DEFAULT, DAYS_MAX};
use leadtrail_app::reattribute::Position;
use leadtrail_domain::crm::FieldName;
use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::id::{KeyId, PixelId, Slug, SyncJobId};
use leadtrail_domain::key::Scope;
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::time::{Span, Timestamp};
use leadtrail_domain::web_url::HostPattern;
use url::Url;

/// First-party tracking that knows which ad brought the lead, and tells the CRM.
#[derive(Debug, Parser)]
#[command(name = "leadtrail", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Try it:     leadtrail demo
Run it:     leadtrail serve --bind 0.0.0.0:8080 --store sqlite:leadtrail.db
Set it up:  leadtrail project create --name \"Acme\"
            leadtrail pixel create --project acme --name \"Acme site\" --origin www.acme.example
Look:       leadtrail check-config
            leadtrail doctor
            leadtrail sync health
            leadtrail why ada@example.com --project acme
            leadtrail classify 'https://www.acme.example/?utm_source=news&utm_medium=email'

Settings come from --config FILE and the environment (LEADTRAIL__SECTION__KEY); check-config shows them all.";

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// A file of settings (TOML); the environment and flags override it
    #[arg(long, global = true, value_name = "FILE", env = "LEADTRAIL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The store: sqlite:PATH, `postgres://USER:PASSWORD@HOST/DATABASE` or memory:
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything on one machine: a demo site, a sandbox CRM, and what happens shown as it happens
    #[command(after_help = "Example: leadtrail demo")]
    Demo(DemoArgs),
    /// The service
    #[command(
        after_help = "Example: leadtrail serve --bind 0.0.0.0:8080 --store postgres://leadtrail@localhost/leadtrail"
    )]
    Serve(ServeArgs),
    /// Bring the store's schema up to date
    #[command(after_help = "Example: leadtrail migrate --plan --store sqlite:leadtrail.db")]
    Migrate(MigrateArgs),
    /// Projects: one per client
    #[command(
        subcommand,
        after_help = "Example: leadtrail project create --name \"Acme\" --set time_zone=Europe/Berlin"
    )]
    Project(ProjectCommand),
    /// Pixels: one per site
    #[command(
        subcommand,
        after_help = "Example: leadtrail pixel create --project acme --name \"Acme site\" --origin www.acme.example"
    )]
    Pixel(PixelCommand),
    /// API keys
    #[command(
        subcommand,
        after_help = "Example: leadtrail key create --scope read --project acme --name \"Reporting\""
    )]
    Key(KeyCommand),
    /// The CRM
    #[command(subcommand, after_help = "Example: leadtrail crm verify --project acme")]
    Crm(CrmCommand),
    /// The queue of what the CRM is still to be told
    #[command(subcommand, after_help = "Example: leadtrail sync list --project acme --status error")]
    Sync(SyncCommand),
    /// What is wrong with the tags of links, in the events of the last days; exit code 1 when something is
    #[command(after_help = "Example: leadtrail hygiene --project acme --days 7")]
    Hygiene(HygieneArgs),
    /// Why a lead or a conversion is attributed as it is: touches in order, the rule, and what the CRM was told
    #[command(after_help = "Example: leadtrail why ada@example.com --project acme")]
    Why(WhyArgs),
    /// Decide touches, sessions' and leads' attribution anew from stored events, by the rules and settings of now
    #[command(after_help = "\
Example: leadtrail reattribute --project acme --dry-run

Works in small steps while the service runs. When it is stopped, each line of progress names where to go on (--from);
to begin again is harmless too. Ids that were answered, visitors and session limits stay as they are.
Exit code 1 with --dry-run: something would change.")]
    Reattribute(ReattributeArgs),
    /// What the rules make of one landing: signals, source, medium, channel, touch or not and why; needs no store
    #[command(
        after_help = "Example: leadtrail classify 'https://www.acme.example/?gclid=test' --referrer https://www.google.com/"
    )]
    Classify(ClassifyArgs),
    /// The merged settings with their sources, secrets masked
    #[command(after_help = "Example: leadtrail check-config --config leadtrail.toml")]
    CheckConfig(CheckConfigArgs),
    /// Whether everything is as it should be: a line each, with the mend; exit code 1 when something is not
    #[command(after_help = "Example: leadtrail doctor --store sqlite:leadtrail.db --json")]
    Doctor(DoctorArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the demo listens; by default 127.0.0.1:8080, or any free port where that is taken
    #[arg(long, value_name = "ADDR")]
    pub(crate) bind: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where the service listens, as 127.0.0.1:8080; port 0 takes any free one
    #[arg(long, value_name = "ADDR")]
    pub(crate) bind: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Only list what would be applied
    #[arg(long, conflicts_with = "check")]
    pub(crate) plan: bool,
    /// Only check: exit code 1 when something is to be applied
    #[arg(long)]
    pub(crate) check: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckConfigArgs {
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClassifyArgs {
    /// The page's address, with its query
    pub(crate) url: String,
    /// Where the visitor came from: `document.referrer`
    #[arg(long, value_name = "URL")]
    pub(crate) referrer: Option<String>,
    /// One of the pixel's own sites beside the page's, such as shop.example.com or *.example.com; may be repeated
    #[arg(long = "site", value_name = "HOST")]
    pub(crate) sites: Vec<HostPattern>,
    /// A host that the project ignores as a referrer, with all below it; may be repeated
    #[arg(long = "ignore", value_name = "HOST")]
    pub(crate) ignored: Vec<HostPattern>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A setting of a project or pixel: a dotted key and a value.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) path: String,
    pub(crate) value: String,
}

fn setting(text: &str) -> Result<Setting, String> {
    let (path, value) = text.split_once('=').ok_or("not KEY=VALUE, such as crm.enabled=false")?;
    Ok(Setting { path: path.trim().to_owned(), value: value.trim().to_owned() })
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Create a project, or show the one that has the slug already
    #[command(after_help = "Example: leadtrail project create --name \"Acme\" --slug acme --json")]
    Create {
        /// Its name for people
        #[arg(long)]
        name: String,
        /// Its short name: letters, digits, `_`, `-`; by default made of the name
        #[arg(long)]
        slug: Option<Slug>,
        /// A setting, such as `time_zone=Europe/Berlin` or `crm.enabled=false`; may be repeated
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
        settings: Vec<Setting>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// List projects
    #[command(after_help = "Example: leadtrail project list --json")]
    List {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a project with its settings
    #[command(after_help = "Example: leadtrail project show acme")]
    Show {
        /// Its id or slug
        project: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a project
    #[command(
        after_help = "Example: leadtrail project update acme --set sync_delay=10m --set attribution.lookback=30d"
    )]
    Update {
        /// Its id or slug
        project: String,
        /// A new name
        #[arg(long)]
        name: Option<String>,
        /// A new slug
        #[arg(long)]
        slug: Option<Slug>,
        /// A setting to change; KEY= alone returns it to its default; may be repeated
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
        settings: Vec<Setting>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Archive a project: its pixels collect nothing any more, what was collected stays
    #[command(after_help = "Example: leadtrail project archive acme")]
    Archive {
        /// Its id or slug
        project: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PixelCommand {
    /// Create a pixel, or show the project's pixel that has the id already
    #[command(
        after_help = "Example: leadtrail pixel create --project acme --name \"Acme site\" --origin '*.acme.example' --json"
    )]
    Create {
        /// The project's id or slug
        #[arg(long)]
        project: String,
        /// Its name for people
        #[arg(long)]
        name: String,
        /// Its id: letters, digits, `_`, `-`; by default a new one
        #[arg(long)]
        id: Option<PixelId>,
        /// A site it may be used on, such as www.acme.example or *.acme.example; may be repeated; none: any site
        #[arg(long = "origin", value_name = "HOST")]
        origins: Vec<HostPattern>,
        /// A form field to keep beside e-mail and name; may be repeated
        #[arg(long = "form-field", value_name = "NAME")]
        form_fields: Vec<String>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// List a project's pixels
    #[command(after_help = "Example: leadtrail pixel list --project acme")]
    List {
        /// The project's id or slug
        #[arg(long)]
        project: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a pixel
    #[command(after_help = "Example: leadtrail pixel show acme-site")]
    Show {
        /// Its id
        id: PixelId,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a pixel
    #[command(after_help = "Example: leadtrail pixel update acme-site --origin www.acme.example")]
    Update {
        /// Its id
        id: PixelId,
        /// A new name
        #[arg(long)]
        name: Option<String>,
        /// The sites it may be used on, in place of the present ones; may be repeated
        #[arg(long = "origin", value_name = "HOST")]
        origins: Vec<HostPattern>,
        /// Allow any site
        #[arg(long, conflicts_with = "origins")]
        any_origin: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Archive a pixel: it collects nothing any more, what it collected stays
    #[command(after_help = "Example: leadtrail pixel archive acme-site")]
    Archive {
        /// Its id
        id: PixelId,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at a page and say what would keep the pixel from working there
    #[command(
        after_help = "Exit code 1 where something must be mended. Example: leadtrail pixel check https://www.acme.example/ \
                      --pixel acme-site"
    )]
    Check {
        /// The page: https, or http on this machine
        #[arg(value_parser = crate::web::page)]
        url: Url,
        /// The pixel that should be there; by default whichever is
        #[arg(long, value_name = "ID")]
        pixel: Option<PixelId>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the code to put into the site's pages
    #[command(after_help = "Example: leadtrail pixel snippet acme-site --plus links,engagement")]
    Snippet {
        /// Its id
        id: PixelId,
        /// Pin the script to this version by its hash; a new version of the service needs a new snippet
        #[arg(long)]
        pinned: bool,
        /// What of the extension the pages want
        #[arg(long, value_delimiter = ',', value_name = "NAME")]
        plus: Vec<Extra>,
    },
}

/// A part of the pixel's extension.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Extra {
    /// Forms of HubSpot, Tally, Calendly, Typeform and Jotform in frames
    Embeds,
    /// Clicks on links to other sites, files and addresses
    Links,
    /// How long and how far down pages are read
    Engagement,
    /// Hidden fields named as the parameters of the landing page
    Fill,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and show its secret, this once
    #[command(
        after_help = "Example: leadtrail key create --scope read --scope export --project acme --expires 90d --json"
    )]
    Create {
        /// What it opens: ingest, read, export, manage, sync, archive or admin; may be repeated
        #[arg(long = "scope", required = true)]
        scopes: Vec<Scope>,
        /// The one project it is bound to, by id or slug; none: all
        #[arg(long)]
        project: Option<String>,
        /// Its name for people
        #[arg(long, default_value = "unnamed")]
        name: String,
        /// After how long it ends by itself, such as 90d
        #[arg(long, value_name = "SPAN")]
        expires: Option<Span>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// List keys, without their secrets
    #[command(after_help = "Example: leadtrail key list --json")]
    List {
        /// Only those bound to this project, by id or slug
        #[arg(long)]
        project: Option<String>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key, at once and for good
    #[command(after_help = "Example: leadtrail key revoke 019ab0e4-7c00-7abc-8def-0123456789ab")]
    Revoke {
        /// Its id
        id: KeyId,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CrmCommand {
    /// Where each of our fields goes in the CRM
    #[command(subcommand, after_help = "Example: leadtrail crm mapping set --project acme mapping.toml")]
    Mapping(MappingCommand),
    /// Look at a project's account: fields, rights, limits; exit code 1 when leads are not told
    #[command(after_help = "Example: leadtrail crm verify --project acme")]
    Verify {
        /// The project's id or slug
        #[arg(long)]
        project: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the fields that the account lacks; without --yes it only says which
    #[command(
        after_help = "Example: leadtrail crm provision --project acme --field utm_source --field gclid --yes"
    )]
    Provision {
        /// The project's id or slug
        #[arg(long)]
        project: String,
        /// Only this field of ours; may be repeated
        #[arg(long = "field", value_name = "NAME")]
        fields: Vec<FieldName>,
        /// Only say which would be made
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        /// Make them
        #[arg(long)]
        yes: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the person of an address would be told, and why; writes nothing
    #[command(after_help = "Example: leadtrail crm test-email ada@example.com --project acme")]
    TestEmail {
        /// The e-mail address
        #[arg(value_name = "ADDR")]
        email: EmailAddress,
        /// The project's id or slug
        #[arg(long)]
        project: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// A project's own CRM account
    #[command(
        subcommand,
        after_help = "Example: leadtrail crm connection set --project acme --company acme --token-file token.txt"
    )]
    Connection(ConnectionCommand),
    /// Make the sandbox CRM fail, in place of what went wrong before; without faults it is well again
    #[command(after_help = "Example: leadtrail crm sandbox-script --outage limited --seconds 30")]
    SandboxScript {
        /// How every call fails
        #[arg(long)]
        outage: Option<SandboxOutage>,
        /// For how long a limited one asks to be left alone
        #[arg(long, default_value_t = 30, requires = "outage")]
        seconds: u64,
        /// So many look-ups by e-mail find nobody
        #[arg(long, value_name = "COUNT", default_value_t = 0)]
        empty_searches: u32,
        /// So many updates are carried out and not answered
        #[arg(long, value_name = "COUNT", default_value_t = 0)]
        lost_answers: u32,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a person to the sandbox CRM, as a salesperson would
    #[command(
        after_help = "Example: leadtrail crm sandbox-person --email ada@example.com --first-name Ada --last-name Lovelace"
    )]
    SandboxPerson {
        /// The e-mail address
        #[arg(long)]
        email: EmailAddress,
        /// The first name
        #[arg(long, default_value = "")]
        first_name: String,
        /// The last name
        #[arg(long, default_value = "")]
        last_name: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the sandbox CRM has of a person
    #[command(after_help = "Example: leadtrail crm sandbox-show --email ada@example.com --json")]
    SandboxShow {
        /// The e-mail address
        #[arg(long)]
        email: EmailAddress,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which jobs are meant.
#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    /// Those that stand so: pending, held, synced, `not_found`, ambiguous, error, superseded, skipped or erased
    #[arg(long)]
    pub(crate) status: Option<JobStatus>,
    /// Those of this person
    #[arg(long, value_name = "ADDR")]
    pub(crate) email: Option<EmailAddress>,
    /// Those whose form arrived then or later: 2026-11-23, 2026-11-23T08:00:00Z, or 24h for so long ago
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) since: Option<Moment>,
    /// Those whose form arrived before
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) until: Option<Moment>,
}

/// An instant, or so long ago.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    At(Timestamp),
    Ago(Span),
}

fn moment(text: &str) -> Result<Moment, String> {
    let at = text.parse().or_else(|_not_an_instant| format!("{text}T00:00:00Z").parse());
    at.map(Moment::At).or_else(|_not_a_day| text.parse().map(Moment::Ago)).map_err(|_not_a_span| {
        "not a day such as 2026-11-23, an instant such as 2026-11-23T08:00:00Z or a span such as 24h"
            .to_owned()
    })
}

/// What is done to one job, or to all that are meant.
#[derive(Debug, Args)]
pub(crate) struct ActArgs {
    /// The job; without one, all that the filters mean
    #[arg(value_name = "JOB", conflicts_with_all = ["status", "email", "since", "until"])]
    pub(crate) id: Option<SyncJobId>,
    /// The project's id or slug
    #[arg(long)]
    pub(crate) project: String,
    #[command(flatten)]
    pub(crate) jobs: JobsArgs,
    /// Do it to as many as it says
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SyncCommand {
    /// List a project's jobs, newest first
    #[command(after_help = "Example: leadtrail sync list --project acme --status error --since 24h")]
    List {
        /// The project's id or slug
        #[arg(long)]
        project: String,
        #[command(flatten)]
        jobs: JobsArgs,
        /// So many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a job: its attempts, what was asked and answered, and what was written
    #[command(
        after_help = "Example: leadtrail sync show 019ab0e4-7c00-7abc-8def-0123456789ab --project acme"
    )]
    Show {
        /// The job
        #[arg(value_name = "JOB")]
        id: SyncJobId,
        /// The project's id or slug
        #[arg(long)]
        project: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell the CRM again, built anew: one job, or all that the filters mean
    #[command(
        after_help = "Example: leadtrail sync replay --project acme --status not_found --since 7d --yes"
    )]
    Replay(ActArgs),
    /// Hold jobs back until they are replayed
    #[command(after_help = "Example: leadtrail sync hold --project acme --email ada@example.com --yes")]
    Hold(ActArgs),
    /// Never tell the CRM of these
    #[command(
        after_help = "Example: leadtrail sync skip 019ab0e4-7c00-7abc-8def-0123456789ab --project acme"
    )]
    Skip(ActArgs),
    /// How well the queue is doing, as a score with its parts; exit code 1 below the threshold
    #[command(after_help = "Example: leadtrail sync health --json")]
    Health {
        /// Only this project, by id or slug
        #[arg(long)]
        project: Option<String>,
        /// The score below which a human should look
        #[arg(long, default_value_t = leadtrail_domain::sync::health::SCORE_MIN,
              value_parser = clap::value_parser!(u8).range(0..=100))]
        threshold: u8,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HygieneArgs {
    /// The project's id or slug
    #[arg(long)]
    pub(crate) project: String,
    /// Only the events of this pixel
    #[arg(long, value_name = "ID")]
    pub(crate) pixel: Option<PixelId>,
    /// How many days back
    #[arg(long, default_value_t = DAYS_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
    pub(crate) days: u32,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// A person's e-mail, or the id of the event that sent the form or counts as a conversion
    #[arg(value_name = "EMAIL|EVENT_ID")]
    pub(crate) subject: String,
    /// The project's id or slug
    #[arg(long)]
    pub(crate) project: String,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line are read by their names")]
pub(crate) struct ReattributeArgs {
    /// The project's id or slug
    #[arg(long, required_unless_present = "all", conflicts_with = "all")]
    pub(crate) project: Option<String>,
    /// Every project, one after the other
    #[arg(long)]
    pub(crate) all: bool,
    /// Only say what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Tell the CRM again of changed leads that it was told of; not of those that are held or were skipped
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) requeue: bool,
    /// Go on where an earlier run stopped
    #[arg(long, value_name = "POSITION", requires = "project")]
    pub(crate) from: Option<Position>,
    /// How many changed visitors and leads are described
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) details: usize,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MappingCommand {
    /// Where each of our fields goes, and when it may be written
    #[command(after_help = "Example: leadtrail crm mapping show --project acme")]
    Show {
        /// The project's id or slug
        #[arg(long)]
        project: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a project's mapping from a file, in place of the one it had
    #[command(after_help = "\
Example: leadtrail crm mapping set --project acme mapping.toml

The file names what differs from the preset, which is the CRM's field of the same name:
  utm_source = \"Lead source\"                             # by the CRM's name or key
  gclid = { field = \"Google click\", policy = \"if_empty\" } # always, if_empty, once or never
  ip_address = { policy = \"never\" }")]
    Set {
        /// The project's id or slug
        #[arg(long)]
        project: String,
        /// The file (TOML)
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionCommand {
    /// Give a project its own Pipedrive account; the token is read from a file or from standard input
    #[command(
        after_help = "Example: leadtrail crm connection set --project acme --company acme --token-file token.txt"
    )]
    Set {
        /// The project's id or slug
        #[arg(long)]
        project: String,
        /// The company's name at Pipedrive, or `https://COMPANY.pipedrive.com`
        #[arg(long, value_name = "NAME|URL")]
        company: String,
        /// The file that holds the API token; otherwise it is read from standard input
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show which account a project has of its own, without the token
    #[command(after_help = "Example: leadtrail crm connection show --project acme")]
    Show {
        /// The project's id or slug
        #[arg(long)]
        project: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a project's own account; its leads wait until another is set
    #[command(after_help = "Example: leadtrail crm connection remove --project acme")]
    Remove {
        /// The project's id or slug
        #[arg(long)]
        project: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// How every call of the sandbox CRM fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum SandboxOutage {
    /// It is out of reach
    Transient,
    /// It refuses the token
    Auth,
    /// It was asked too often
    Limited,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_shows_an_example() {
        fn check(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands() {
                let path = format!("{path} {}", sub.get_name());
                let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example: leadtrail "), "{path} has no example");
                check(sub, &path);
            }
        }
        let command = Cli::command();
        command.clone().debug_assert();
        check(&command, "leadtrail");
    }
}
