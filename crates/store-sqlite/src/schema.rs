//! The tables as diesel sees them. The migrations are where they are decided; a test compares the two.

diesel::table! {
    api_keys (key_id) {
        key_id -> Binary,
        name -> Text,
        prefix -> Text,
        hash -> Binary,
        scopes -> Text,
        project_id -> Nullable<Binary>,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        last_used_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    conversions (project_id, conversion_id) {
        project_id -> Binary,
        conversion_id -> Binary,
        name -> Text,
        pixel_id -> Text,
        event_id -> Binary,
        visitor_id -> Binary,
        session_id -> Binary,
        occurred_at -> BigInt,
        value -> Nullable<Double>,
        touches -> Text,
        rules_version -> BigInt,
    }
}

diesel::table! {
    crm_connections (project_id) {
        project_id -> Binary,
        sealed -> Binary,
        set_at -> BigInt,
    }
}

diesel::table! {
    crm_writes (project_id, account, person_id, field_key, job_id, at) {
        project_id -> Binary,
        account -> Text,
        person_id -> Text,
        field_key -> Text,
        job_id -> Binary,
        at -> BigInt,
        value_before -> Nullable<Text>,
        value_after -> Text,
    }
}

diesel::table! {
    identities (project_id, email_hash, visitor_id) {
        project_id -> Binary,
        email_hash -> Binary,
        visitor_id -> Binary,
        at -> BigInt,
    }
}

diesel::table! {
    leads (lead_id) {
        lead_id -> Binary,
        project_id -> Binary,
        pixel_id -> Text,
        event_id -> Binary,
        visitor_id -> Binary,
        session_id -> Binary,
        job_id -> Nullable<Binary>,
        email -> Text,
        email_hash -> Binary,
        first_name -> Nullable<Text>,
        last_name -> Nullable<Text>,
        occurred_at -> BigInt,
        received_at -> BigInt,
        touches -> Text,
        session_touch -> Nullable<Text>,
        rules_version -> BigInt,
    }
}

diesel::table! {
    pixels (pixel_id) {
        pixel_id -> Text,
        project_id -> Binary,
        name -> Text,
        settings -> Text,
        created_at -> BigInt,
        archived_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    projects (project_id) {
        project_id -> Binary,
        slug -> Text,
        name -> Text,
        settings -> Text,
        created_at -> BigInt,
        archived_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    sessions (session_id) {
        session_id -> Binary,
        project_id -> Binary,
        visitor_id -> Binary,
        pixel_id -> Text,
        opening_event_id -> Binary,
        started_at -> BigInt,
        source -> Nullable<Text>,
        medium -> Nullable<Text>,
        campaign -> Nullable<Text>,
        channel -> Nullable<Text>,
        landing_page -> Text,
    }
}

diesel::table! {
    submissions (submission_key, count) {
        submission_key -> Binary,
        count -> BigInt,
        project_id -> Binary,
        lead_id -> Binary,
        received_at -> BigInt,
    }
}

diesel::table! {
    sync_attempts (job_id, number) {
        job_id -> Binary,
        number -> BigInt,
        project_id -> Binary,
        at -> BigInt,
        status -> Text,
        note -> Text,
        steps -> Text,
    }
}

diesel::table! {
    sync_jobs (job_id) {
        job_id -> Binary,
        project_id -> Binary,
        account -> Text,
        lead_id -> Binary,
        email_hash -> Binary,
        sequence -> BigInt,
        created_at -> BigInt,
        due_at -> BigInt,
        status -> Text,
        looks -> BigInt,
        failures -> BigInt,
        wanted -> Nullable<Text>,
        planned -> Nullable<Text>,
        persons -> Text,
        last_error -> Nullable<Text>,
        ended_at -> Nullable<BigInt>,
        lease_number -> BigInt,
        lease_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    touchpoints (visitor_id, at, event_id, pixel_id) {
        visitor_id -> Binary,
        at -> BigInt,
        event_id -> Binary,
        pixel_id -> Text,
        project_id -> Binary,
        session_id -> Binary,
        kind -> Text,
        source -> Nullable<Text>,
        medium -> Nullable<Text>,
        campaign -> Nullable<Text>,
        channel -> Nullable<Text>,
        touch -> Text,
        rules_version -> BigInt,
    }
}

diesel::table! {
    tracking_events (event_id, pixel_id) {
        event_id -> Binary,
        pixel_id -> Text,
        partition_at -> BigInt,
        project_id -> Binary,
        visitor_id -> Binary,
        session_id -> Binary,
        lead_id -> Nullable<Binary>,
        original_id -> Nullable<Text>,
        event_type -> Text,
        occurred_at -> BigInt,
        received_at -> BigInt,
        page_url -> Text,
        page_title -> Nullable<Text>,
        referrer_url -> Nullable<Text>,
        utm_source -> Nullable<Text>,
        utm_medium -> Nullable<Text>,
        utm_campaign -> Nullable<Text>,
        utm_term -> Nullable<Text>,
        utm_content -> Nullable<Text>,
        utm_id -> Nullable<Text>,
        utm_extra -> Nullable<Text>,
        gclid -> Nullable<Text>,
        fbclid -> Nullable<Text>,
        msclkid -> Nullable<Text>,
        ttclid -> Nullable<Text>,
        twclid -> Nullable<Text>,
        li_fat_id -> Nullable<Text>,
        sc_click_id -> Nullable<Text>,
        click_ids -> Nullable<Text>,
        campaign_region -> Nullable<Text>,
        ad_group -> Nullable<Text>,
        ad_id -> Nullable<Text>,
        search_query -> Nullable<Text>,
        form_data -> Nullable<Text>,
        viewport_width -> Nullable<BigInt>,
        viewport_height -> Nullable<BigInt>,
        screen_width -> Nullable<BigInt>,
        screen_height -> Nullable<BigInt>,
        language -> Nullable<Text>,
        props -> Nullable<Text>,
        value -> Nullable<Double>,
        consent -> Nullable<Text>,
        ip_address -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        device_type -> Nullable<Text>,
        operating_system -> Nullable<Text>,
        browser -> Nullable<Text>,
        bot -> Nullable<Text>,
        country -> Nullable<Text>,
        region -> Nullable<Text>,
        city -> Nullable<Text>,
        rules_version -> BigInt,
        pipedrive_sync_status -> Nullable<Text>,
        pipedrive_sync_at -> Nullable<BigInt>,
        pipedrive_person_id -> Nullable<Text>,
    }
}

diesel::table! {
    visitors (visitor_id) {
        visitor_id -> Binary,
        project_id -> Binary,
        cookie -> Nullable<Text>,
        version -> BigInt,
        first_seen_at -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    api_keys,
    conversions,
    crm_connections,
    crm_writes,
    identities,
    leads,
    pixels,
    projects,
    sessions,
    submissions,
    sync_attempts,
    sync_jobs,
    touchpoints,
    tracking_events,
    visitors,
);
