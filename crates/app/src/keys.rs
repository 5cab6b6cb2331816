//! Managing API keys: what the API and the command line share.

use std::collections::BTreeSet;

use leadtrail_domain::id::{KeyId, ProjectId};
use leadtrail_domain::key::{ApiKey, KeySecret, Scope};
use leadtrail_domain::ports::{Keys, StoreError};
use leadtrail_domain::time::Timestamp;

use crate::access::View;
use crate::input::{Given, Invalid, name};

/// What somebody wants a key to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// Its name for people; cleaned.
    pub name: Option<String>,
    /// What it opens.
    pub scopes: BTreeSet<Scope>,
    /// The one project it is bound to; absent: all.
    pub project_id: Option<ProjectId>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Random bytes that a key is made of.
#[derive(Clone, Copy)]
pub struct KeyEntropy {
    /// Of its id.
    pub id: [u8; 16],
    /// Of its secret.
    pub secret: [u8; 32],
}

/// The key that is wanted and its secret, not stored yet.
///
/// # Errors
/// Without a name or a scope; at its end already.
pub fn made(
    wanted: Given<NewKey>,
    now: Timestamp,
    entropy: KeyEntropy,
) -> Result<(ApiKey, KeySecret), Invalid> {
    let Given { fields: wanted, mut problems } = wanted;
    let name = name(wanted.name.as_deref(), &mut problems);
    if wanted.scopes.is_empty() {
        problems.add("scopes", "is required, with one scope at least");
    }
    if wanted.expires_at.is_some_and(|at| at <= now) {
        problems.add("expires_at", "is not in the future");
    }
    let secret = KeySecret::new(entropy.secret);
    let key = ApiKey {
        id: KeyId::new(now, entropy.id),
        name,
        prefix: secret.prefix().to_owned(),
        hash: secret.hash(),
        scopes: wanted.scopes,
        project_id: wanted.project_id,
        created_at: now,
        expires_at: wanted.expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    problems.unless_none((key, secret))
}

/// A key in view: with a project in view, one bound to it.
///
/// # Errors
/// Those of the store.
pub async fn find(keys: &dyn Keys, view: View, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
    keys.key(view.project(), id).await
}

/// Revokes a key in view; one that is revoked already keeps its time. Answers the key as it is then, or that there is
/// none.
///
/// # Errors
/// Those of the store.
pub async fn revoke(
    keys: &dyn Keys,
    view: View,
    id: KeyId,
    now: Timestamp,
) -> Result<Option<ApiKey>, StoreError> {
    if keys.revoke_key(view.project(), id, now).await? {
        keys.key(view.project(), id).await
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use leadtrail_store_memory::MemoryStore;
    use uuid::Uuid;

    use super::*;

    fn key(byte: u8, project_id: Option<ProjectId>) -> ApiKey {
        let wanted = NewKey {
            name: Some("a key".to_owned()),
            scopes: BTreeSet::from([Scope::Read]),
            project_id,
            expires_at: None,
        };
        made(wanted.into(), Timestamp::EPOCH, KeyEntropy { id: [byte; 16], secret: [byte; 32] }).unwrap().0
    }

    #[tokio::test]
    async fn a_key_is_found_among_its_neighbours_and_only_in_view() {
        let store = MemoryStore::new();
        let all: Vec<ApiKey> = (0..9).map(|byte| key(byte, None)).collect();
        for key in &all {
            store.create_key(key).await.unwrap();
        }
        for key in &all {
            assert_eq!(find(&store, View::All, key.id).await.unwrap().as_ref(), Some(key));
            let elsewhere = View::Only(ProjectId(Uuid::nil()));
            assert_eq!(find(&store, elsewhere, key.id).await.unwrap(), None);
            assert_eq!(revoke(&store, elsewhere, key.id, Timestamp::MAX).await.unwrap(), None);
        }
        for absent in [Uuid::nil(), Uuid::max()] {
            assert_eq!(find(&store, View::All, KeyId(absent)).await.unwrap(), None);
        }
        assert_eq!(find(&store, View::All, all[0].id).await.unwrap().unwrap().revoked_at, None);
    }

    #[test]
    fn every_problem_of_a_key_is_named() {
        let wanted = NewKey {
            name: None,
            scopes: BTreeSet::new(),
            project_id: None,
            expires_at: Some(Timestamp::EPOCH),
        };
        let invalid =
            made(wanted.into(), Timestamp::EPOCH, KeyEntropy { id: [0; 16], secret: [0; 32] }).unwrap_err();
        let fields: Vec<&str> = invalid.problems.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["name", "scopes", "expires_at"]);
    }
}
