//! The CRM port of Leadtrail in memory, kept in a JSON file where asked
