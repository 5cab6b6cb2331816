//! The store ports of Leadtrail in maps: the reference model of the contract suites
