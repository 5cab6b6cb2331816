//! The tables as diesel sees them; the migrations are where they are decided.

diesel::table! {
    projects (project_id) {
        project_id -> Uuid,
        slug -> Text,
        name -> Text,
        settings -> Jsonb,
        created_at -> Timestamptz,
        archived_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    pixels (pixel_id) {
        pixel_id -> Text,
        project_id -> Uuid,
        name -> Text,
        settings -> Jsonb,
        created_at -> Timestamptz,
        archived_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    api_keys (key_id) {
        key_id -> Uuid,
        name -> Text,
        prefix -> Text,
        hash -> Binary,
        scopes -> Jsonb,
        project_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
        last_used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    visitors (visitor_id) {
        visitor_id -> Uuid,
        project_id -> Uuid,
        cookie -> Nullable<Text>,
        version -> BigInt,
        first_seen_at -> Timestamptz,
    }
}

diesel::table! {
    sessions (session_id) {
        session_id -> Uuid,
        project_id -> Uuid,
        visitor_id -> Uuid,
        pixel_id -> Text,
        opening_event_id -> Uuid,
        started_at -> Timestamptz,
        source -> Nullable<Text>,
        medium -> Nullable<Text>,
        campaign -> Nullable<Text>,
        channel -> Nullable<Text>,
        landing_page -> Text,
    }
}

diesel::table! {
    touchpoints (visitor_id, at, event_id, pixel_id) {
        visitor_id -> Uuid,
        at -> Timestamptz,
        event_id -> Uuid,
        pixel_id -> Text,
        project_id -> Uuid,
        session_id -> Uuid,
        kind -> Text,
        source -> Nullable<Text>,
        medium -> Nullable<Text>,
        campaign -> Nullable<Text>,
        channel -> Nullable<Text>,
        touch -> Jsonb,
        rules_version -> Integer,
    }
}

diesel::table! {
    tracking_events (event_id, pixel_id, partition_at) {
        event_id -> Uuid,
        pixel_id -> Text,
        partition_at -> Timestamptz,
        project_id -> Uuid,
        visitor_id -> Uuid,
        session_id -> Uuid,
        lead_id -> Nullable<Uuid>,
        original_id -> Nullable<Text>,
        event_type -> Text,
        occurred_at -> Timestamptz,
        received_at -> Timestamptz,
        page_url -> Text,
        page_title -> Nullable<Text>,
        referrer_url -> Nullable<Text>,
        utm_source -> Nullable<Text>,
        utm_medium -> Nullable<Text>,
        utm_campaign -> Nullable<Text>,
        utm_term -> Nullable<Text>,
        utm_content -> Nullable<Text>,
        utm_id -> Nullable<Text>,
        utm_extra -> Nullable<Jsonb>,
        gclid -> Nullable<Text>,
        fbclid -> Nullable<Text>,
        msclkid -> Nullable<Text>,
        ttclid -> Nullable<Text>,
        twclid -> Nullable<Text>,
        li_fat_id -> Nullable<Text>,
        sc_click_id -> Nullable<Text>,
        click_ids -> Nullable<Jsonb>,
        campaign_region -> Nullable<Text>,
        ad_group -> Nullable<Text>,
        ad_id -> Nullable<Text>,
        search_query -> Nullable<Text>,
        form_data -> Nullable<Jsonb>,
        viewport_width -> Nullable<Integer>,
        viewport_height -> Nullable<Integer>,
        screen_width -> Nullable<Integer>,
        screen_height -> Nullable<Integer>,
        language -> Nullable<Text>,
        props -> Nullable<Jsonb>,
        value -> Nullable<Double>,
        consent -> Nullable<Text>,
        ip_address -> Nullable<Inet>,
        user_agent -> Nullable<Text>,
        device_type -> Nullable<Text>,
        operating_system -> Nullable<Text>,
        browser -> Nullable<Text>,
        bot -> Nullable<Text>,
        country -> Nullable<Text>,
        region -> Nullable<Text>,
        city -> Nullable<Text>,
        rules_version -> Integer,
        pipedrive_sync_status -> Nullable<Text>,
        pipedrive_sync_at -> Nullable<Timestamptz>,
        pipedrive_person_id -> Nullable<Text>,
    }
}

diesel::table! {
    leads (lead_id) {
        lead_id -> Uuid,
        project_id -> Uuid,
        pixel_id -> Text,
        event_id -> Uuid,
        visitor_id -> Uuid,
        session_id -> Uuid,
        job_id -> Nullable<Uuid>,
        email -> Text,
        email_hash -> Binary,
        first_name -> Nullable<Text>,
        last_name -> Nullable<Text>,
        occurred_at -> Timestamptz,
        received_at -> Timestamptz,
        touches -> Jsonb,
        session_touch -> Nullable<Jsonb>,
        rules_version -> Integer,
    }
}

diesel::table! {
    submissions (submission_key, count) {
        submission_key -> Binary,
        count -> BigInt,
        project_id -> Uuid,
        lead_id -> Uuid,
        received_at -> Timestamptz,
    }
}

diesel::table! {
    identities (project_id, email_hash, visitor_id) {
        project_id -> Uuid,
        email_hash -> Binary,
        visitor_id -> Uuid,
        at -> Timestamptz,
    }
}

diesel::table! {
    sync_jobs (job_id) {
        job_id -> Uuid,
        project_id -> Uuid,
        account -> Text,
        lead_id -> Uuid,
        email_hash -> Binary,
        sequence -> BigInt,
        created_at -> Timestamptz,
        due_at -> Timestamptz,
        status -> Text,
        looks -> Integer,
        failures -> Integer,
        wanted -> Nullable<Jsonb>,
        planned -> Nullable<Jsonb>,
        persons -> Jsonb,
        last_error -> Nullable<Text>,
        ended_at -> Nullable<Timestamptz>,
        lease_number -> BigInt,
        lease_until -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sync_attempts (job_id, number) {
        job_id -> Uuid,
        number -> Integer,
        project_id -> Uuid,
        at -> Timestamptz,
        status -> Text,
        note -> Text,
        steps -> Jsonb,
    }
}

diesel::table! {
    conversions (project_id, conversion_id) {
        project_id -> Uuid,
        conversion_id -> Uuid,
        name -> Text,
        pixel_id -> Text,
        event_id -> Uuid,
        visitor_id -> Uuid,
        session_id -> Uuid,
        occurred_at -> Timestamptz,
        value -> Nullable<Double>,
        touches -> Jsonb,
        rules_version -> Integer,
    }
}

diesel::table! {
    crm_connections (project_id) {
        project_id -> Uuid,
        sealed -> Binary,
        set_at -> Timestamptz,
    }
}

diesel::table! {
    crm_writes (project_id, account, person_id, field_key, job_id, at) {
        project_id -> Uuid,
        account -> Text,
        person_id -> Text,
        field_key -> Text,
        job_id -> Uuid,
        at -> Timestamptz,
        value_before -> Nullable<Jsonb>,
        value_after -> Jsonb,
    }
}

diesel::joinable!(pixels -> projects (project_id));
diesel::joinable!(tracking_events -> visitors (visitor_id));
diesel::allow_tables_to_appear_in_same_query!(pixels, projects);
diesel::allow_tables_to_appear_in_same_query!(tracking_events, visitors);
diesel::allow_tables_to_appear_in_same_query!(crm_writes, sync_jobs);
