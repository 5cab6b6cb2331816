//! The CRM port of Leadtrail on Pipedrive's API v2
