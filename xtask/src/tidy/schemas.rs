//! The two engines' migrations: the same folders, tables and columns.
//!
//! A reader of our own `CREATE TABLE` and `ALTER TABLE … ADD|DROP COLUMN` statements, not of SQL at large.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;

/// Columns that only one engine needs. `*` stands for every table.
const ONE_ENGINE_ONLY: [(Engine, &str, &str); 1] = [
    // The writing transaction's id: what a rollup may count is what lies below the snapshot's oldest. SQLite has one
    // writer and needs none.
    (Engine::Postgres, "*", "recorded_xid"),
];

/// A migration folder's engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Engine {
    Postgres,
    Sqlite,
}

impl Engine {
    const ALL: [Self; 2] = [Self::Postgres, Self::Sqlite];

    fn folder(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Postgres => Self::Sqlite,
            Self::Sqlite => Self::Postgres,
        }
    }
}

/// Which way a migration file leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Direction {
    Up,
    Down,
}

/// One file of a migration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct MigrationFile {
    pub(super) engine: Engine,
    /// The folder, `<timestamp>_<name>`.
    pub(super) name: String,
    pub(super) direction: Direction,
    pub(super) sql: String,
}

/// What the path says of a migration file; nothing where it is none.
pub(super) fn place(path: &str) -> Option<(Engine, String, Direction)> {
    let mut parts = path.strip_prefix("migrations/")?.split('/');
    let (engine, name, file) = (parts.next()?, parts.next()?, parts.next()?);
    let engine = Engine::ALL.into_iter().find(|known| known.folder() == engine)?;
    match file {
        "up.sql" => Some((engine, name.to_owned(), Direction::Up)),
        "down.sql" => Some((engine, name.to_owned(), Direction::Down)),
        _ => None,
    }
}

/// Table → columns.
type Schema = BTreeMap<String, BTreeSet<String>>;

/// Compares both engines' folders and what their `up.sql` add up to.
pub(super) fn check(files: &[MigrationFile]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    for name in names {
        for engine in Engine::ALL {
            for (direction, file) in [(Direction::Up, "up.sql"), (Direction::Down, "down.sql")] {
                let wanted = |found: &MigrationFile| {
                    found.name == name && found.engine == engine && found.direction == direction
                };
                if !files.iter().any(wanted) {
                    let path = format!("migrations/{}/{name}/{file}", engine.folder());
                    let mend = "each migration has both files on both engines";
                    violations.push(Violation::new(path, "is missing", mend));
                }
            }
        }
    }
    for engine in Engine::ALL {
        let (ours, theirs) = (schema(files, engine), schema(files, engine.other()));
        let folder = format!("migrations/{}", engine.other().folder());
        let mend = "add it, or list it in xtask/src/tidy/schemas.rs with the reason";
        for (table, columns) in &ours {
            let Some(their_columns) = theirs.get(table) else {
                violations.push(Violation::new(&folder, format!("lacks table `{table}`"), mend));
                continue;
            };
            for column in columns.difference(their_columns) {
                let excused = ONE_ENGINE_ONLY.iter().any(|(only, where_, which)| {
                    *only == engine && (*where_ == "*" || where_ == table) && which == column
                });
                if !excused {
                    violations.push(Violation::new(
                        &folder,
                        format!("lacks column `{table}.{column}`"),
                        mend,
                    ));
                }
            }
        }
    }
    violations
}

/// What an engine's `up.sql` files add up to, in the order of their names.
fn schema(files: &[MigrationFile], engine: Engine) -> Schema {
    let mut ups: Vec<&MigrationFile> =
        files.iter().filter(|file| file.engine == engine && file.direction == Direction::Up).collect();
    ups.sort_by(|a, b| a.name.cmp(&b.name));
    let mut schema = Schema::new();
    for up in ups {
        for statement in statements(&up.sql) {
            apply(&mut schema, &statement);
        }
    }
    schema
}

/// One statement's effect on tables and columns.
fn apply(schema: &mut Schema, statement: &[Token]) {
    let words: Vec<&str> = statement.iter().map(Token::word).collect();
    let without_noise: Vec<&str> = words.iter().copied().filter(|word| !is_noise(word)).collect();
    match without_noise.as_slice() {
        ["create", "table", _table, "partition", "of", ..] => {}
        ["create", "table", table, ..] => {
            schema.insert((*table).to_owned(), columns(statement));
        }
        ["drop", "table", tables @ ..] => {
            for table in tables {
                schema.remove(*table);
            }
        }
        ["alter", "table", table, "rename", "to", new] => {
            if let Some(columns) = schema.remove(*table) {
                schema.insert((*new).to_owned(), columns);
            }
        }
        ["alter", "table", table, actions @ ..] => {
            let columns = schema.entry((*table).to_owned()).or_default();
            alter(columns, actions);
        }
        _ => {}
    }
}

/// `ADD COLUMN a …, DROP COLUMN b, RENAME COLUMN c TO d`; our migrations write the word COLUMN.
fn alter(columns: &mut BTreeSet<String>, actions: &[&str]) {
    for action in actions.split(|word| *word == ",") {
        match action {
            ["add", "column", column, ..] => {
                columns.insert((*column).to_owned());
            }
            ["drop", "column", column, ..] => {
                columns.remove(*column);
            }
            ["rename", "column", old, "to", new] => {
                columns.remove(*old);
                columns.insert((*new).to_owned());
            }
            _ => {}
        }
    }
}

/// The first words of a table's definitions that are not constraints.
fn columns(statement: &[Token]) -> BTreeSet<String> {
    const NOT_A_COLUMN: [&str; 7] =
        ["primary", "unique", "check", "foreign", "constraint", "exclude", "like"];
    let mut columns = BTreeSet::new();
    let mut depth = 0_u32;
    let mut at_start = false;
    let mut seen = false;
    for token in statement {
        match token {
            Token::Punctuation("(") => {
                depth += 1;
                // Further parentheses at the top (`PARTITION BY RANGE (…)`) hold no columns.
                at_start = depth == 1 && !std::mem::replace(&mut seen, true);
            }
            Token::Punctuation(")") => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return columns;
                }
            }
            Token::Punctuation(_) => at_start = depth == 1 && token.word() == ",",
            Token::Word(word) => {
                if std::mem::take(&mut at_start) && !NOT_A_COLUMN.contains(&word.as_str()) {
                    columns.insert(word.clone());
                }
            }
        }
    }
    columns
}

fn is_noise(word: &str) -> bool {
    ["if", "not", "exists", "only", "unlogged", "temporary", "temp", "cascade"].contains(&word)
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    /// Lower case; quotes of identifiers removed.
    Word(String),
    Punctuation(&'static str),
}

impl Token {
    fn word(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Punctuation(mark) => mark,
        }
    }
}

/// Splits SQL into statements of tokens; comments, string literals and dollar-quoted bodies hold none.
fn statements(sql: &str) -> Vec<Vec<Token>> {
    let mut statements = vec![Vec::new()];
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let mut push = |token| {
            if let Some(statement) = statements.last_mut() {
                statement.push(token);
            }
        };
        let taken = if rest.starts_with("--") {
            until(rest, 2, "\n")
        } else if rest.starts_with("/*") {
            until(rest, 2, "*/")
        } else if first == '\'' {
            until(rest, 1, "'")
        } else if let Some(tag) = dollar_tag(rest) {
            until(rest, tag.len(), tag)
        } else if first == '"' {
            let taken = until(rest, 1, "\"");
            push(Token::Word(rest[..taken].trim_matches('"').to_owned()));
            taken
        } else if first.is_alphanumeric() || first == '_' {
            let taken =
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
            push(Token::Word(rest[..taken].to_lowercase()));
            taken
        } else {
            match first {
                '(' => push(Token::Punctuation("(")),
                ')' => push(Token::Punctuation(")")),
                ',' => push(Token::Punctuation(",")),
                ';' => statements.push(Vec::new()),
                _ => {}
            }
            first.len_utf8()
        };
        rest = &rest[taken..];
    }
    statements
}

/// How far a quoted thing reaches that opens with `opening` bytes and ends with `end`.
fn until(text: &str, opening: usize, end: &str) -> usize {
    text[opening..].find(end).map_or(text.len(), |at| opening + at + end.len())
}

/// The opening `$…$` of a dollar-quoted body.
fn dollar_tag(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('$')?;
    let end = inner.find('$')?;
    inner[..end].chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then(|| &text[..end + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(engine: Engine, name: &str, direction: Direction, sql: &str) -> MigrationFile {
        MigrationFile { engine, name: name.to_owned(), direction, sql: sql.to_owned() }
    }

    fn both(postgres: &str, sqlite: &str) -> Vec<String> {
        let mut files = Vec::new();
        for (engine, sql) in [(Engine::Postgres, postgres), (Engine::Sqlite, sqlite)] {
            files.push(file(engine, "1_first", Direction::Up, sql));
            files.push(file(engine, "1_first", Direction::Down, ""));
        }
        check(&files)
            .into_iter()
            .map(|violation| format!("{}: {}", violation.file, violation.problem))
            .collect()
    }

    const POSTGRES: &str = r#"
        -- visitors; a comment, with (parentheses
        CREATE TABLE IF NOT EXISTS visitors (
            id uuid NOT NULL, /* , not_a_column */
            "cookie" text NOT NULL CHECK (length(cookie) BETWEEN 8 AND 64 AND cookie <> 'a, b'),
            recorded_xid bigint NOT NULL DEFAULT 0,
            PRIMARY KEY (id),
            CONSTRAINT one_cookie UNIQUE (id, cookie)
        ) PARTITION BY RANGE (id, other);
        CREATE TABLE visitors_default PARTITION OF visitors DEFAULT;
        CREATE FUNCTION f() RETURNS int AS $body$ CREATE TABLE nothing (x int); $body$ LANGUAGE sql;
        ALTER TABLE visitors ADD COLUMN seen_at timestamptz, DROP COLUMN id;
    "#;

    #[test]
    fn schemas_that_differ_in_types_and_partitions_only_are_alike() {
        let sqlite = "create table visitors (seen_at integer, cookie text not null) strict;";
        assert_eq!(both(POSTGRES, sqlite), Vec::<String>::new());
    }

    #[test]
    fn a_missing_column_or_table_is_named_with_the_side_that_lacks_it() {
        let lacking = "CREATE TABLE visitors (cookie TEXT); CREATE TABLE extra (id BLOB);";
        let problems = [
            "migrations/sqlite: lacks column `visitors.seen_at`",
            "migrations/postgres: lacks table `extra`",
        ];
        assert_eq!(both(POSTGRES, lacking), problems);
    }

    #[test]
    fn a_column_excused_on_one_engine_is_not_excused_on_the_other() {
        let problems = both("CREATE TABLE t (a int)", "CREATE TABLE t (a, recorded_xid)");
        assert_eq!(problems, ["migrations/postgres: lacks column `t.recorded_xid`"]);
    }

    #[test]
    fn later_migrations_add_to_earlier_ones_in_the_order_of_their_names() {
        let files: Vec<MigrationFile> = [
            ("2_rename", "ALTER TABLE t RENAME COLUMN a TO b; DROP TABLE IF EXISTS old;"),
            ("1_first", "CREATE TABLE t (a int); CREATE TABLE old (x int);"),
        ]
        .iter()
        .map(|(name, sql)| file(Engine::Sqlite, name, Direction::Up, sql))
        .collect();
        let expected: Schema = [("t".to_owned(), BTreeSet::from(["b".to_owned()]))].into();
        assert_eq!(schema(&files, Engine::Sqlite), expected);
    }

    #[test]
    fn a_migration_without_its_way_down_or_its_twin_is_named() {
        let files = [file(Engine::Postgres, "1_first", Direction::Up, "")];
        let missing: Vec<String> = check(&files).into_iter().map(|violation| violation.file).collect();
        let expected = [
            "migrations/postgres/1_first/down.sql",
            "migrations/sqlite/1_first/up.sql",
            "migrations/sqlite/1_first/down.sql",
        ];
        assert_eq!(missing, expected);
    }

    #[test]
    fn only_up_and_down_files_of_known_engines_are_migrations() {
        assert_eq!(
            place("migrations/sqlite/1_first/up.sql"),
            Some((Engine::Sqlite, "1_first".to_owned(), Direction::Up))
        );
        assert_eq!(place("migrations/README.md"), None);
        assert_eq!(place("migrations/mysql/1_first/up.sql"), None);
    }

    #[test]
    fn our_own_migrations_are_read() {
        // From the disk: the tests run where there is no git, too.
        let folder = crate::workspace::root().join("migrations");
        let mut files = Vec::new();
        for engine in ["postgres", "sqlite"] {
            for migration in std::fs::read_dir(folder.join(engine)).unwrap() {
                let name = migration.unwrap().file_name().into_string().unwrap();
                for direction in ["up", "down"] {
                    let path = format!("migrations/{engine}/{name}/{direction}.sql");
                    let (engine, name, direction) = place(&path).unwrap();
                    files.push(MigrationFile {
                        engine,
                        name,
                        direction,
                        sql: crate::tidy::read(&path).unwrap(),
                    });
                }
            }
        }
        for engine in Engine::ALL {
            let events = schema(&files, engine).remove("tracking_events").unwrap_or_default();
            assert!(events.contains("page_url") && !events.contains("primary"), "{engine:?}: {events:?}");
        }
    }
}
