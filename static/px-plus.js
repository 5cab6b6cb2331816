/* Leadtrail pixel, what not every site needs. The core (pixel.js) loads it when `data-plus` names something, on
 * localhost, and by ?px_debug; a page that pins its scripts by hash gives it a tag of its own.
 *
 *   data-plus="embeds,links,engagement,fill" (any of them)
 *   data-cross="shop.example,example.net"    sites that the visitor is handed over to; each has a pixel of the project
 *
 * embeds      what forms of others, in frames that no page can look into, tell the page. Their origins are compared
 *             whole. A lead where they say who it was, an event of this name where they do not:
 *               HubSpot forms, new embed   a lead: e-mail, first and last name, from the form itself
 *               HubSpot meetings           a lead: e-mail, first and last name (as seen; HubSpot documents no message)
 *               Tally                      a lead: the answer to the e-mail question
 *               Calendly                   `calendly`: addresses of event and invitee in Calendly's API; no e-mail
 *               Typeform                   `typeform`: ids of form and response; no e-mail
 *               Jotform                    `jotform`: id of the form; no e-mail
 *             HubSpot's older embed, Contact Form 7 and other forms that stand in the page are the core's.
 * links       `outbound`, `download`, `mailto`, `tel`: clicks on such links, with the address without its query
 * engagement  `engagement`: seconds that the page was looked at, and how far down, in percent, each time it is left
 * fill        hidden inputs named as the parameters of the visit's landing page (utm_*, gclid and so on) or
 *             `visitor_id` get their values where they are empty, in forms that are added later too
 *
 * On localhost and by ?px_debug, the console is told what is sent, and what became of it. */
((attempt) => {
  const start = attempt(() => {
    const core = window.leadtrail;
    const { pixelId, endpoint, consent, plus = '', cross = '' } = Object.assign(
      {}, ...Array.from(document.querySelectorAll('script[data-pixel-id],script[data-cross],script[data-plus]'), (tag) => ({ ...tag.dataset })),
    );
    if (core.plus) return;
    core.plus = 1;
    const on = (type, action) => window.addEventListener(type, attempt(action), true);
    const event = (name, props) => leadtrail('event', name, props);
    const lead = (email, first_name, last_name) => email && leadtrail('form_submit', email, { first_name, last_name });
    const visitor = () => (/lt_visitor=([\w-]+)/.exec(document.cookie) || [])[1];

    /* ---- Forms of others ---- */

    const booked = (data) => {
      if (data.meetingBookSucceeded) {
        const { email, firstName, lastName } = data.meetingsPayload.bookingResponse.postResponse.contact;
        lead(email, firstName, lastName);
      }
    };
    const filled = (data) => {
      if (data.action == 'submission-completed') event('jotform', { form: data.formID });
    };
    const senders = {
      'https://meetings.hubspot.com': booked,
      'https://meetings-eu1.hubspot.com': booked,
      'https://calendly.com': ({ event: type, payload }) => {
        if (type == 'calendly.event_scheduled') event('calendly', { event: payload.event.uri, invitee: payload.invitee.uri });
      },
      'https://form.typeform.com': ({ type, formId, responseId }) => {
        if (type == 'form-submit') event('typeform', { form: formId, response: responseId });
      },
      'https://form.jotform.com': filled,
      'https://eu.jotform.com': filled,
      'https://tally.so': (data) => {
        const { event: type, payload } = JSON.parse(data);
        if (type == 'Tally.FormSubmitted') lead((payload.fields.find((field) => field.type == 'INPUT_EMAIL').answer || {}).value);
      },
    };
    if (/embeds/.test(plus)) {
      on('message', ({ origin, data }) => senders[origin](data));
      on('hs-form-event:on-submission:success', (success) => HubSpotFormsV4.getFormFromEvent(success).getFormFieldValues()
        .then(attempt((fields) => {
          const value = (name) => (fields.find((field) => field.name == '0-1/' + name) || {}).value; // 0-1: of the contact
          lead(value('email'), value('firstname'), value('lastname'));
        })));
    }

    /* ---- Links ---- */

    const others = cross.split(',');
    const clicked = ({ target, button }) => {
      // Not the right button's: in its menu the address may be copied. Without a link what follows throws, and is done.
      const link = button < 2 && target.closest('a[href]');
      const { protocol, hostname, pathname, search } = link;
      const address = link.href.split(/[?#]/)[0];
      // With the click, not before: an address that is copied, or read by a robot, names nobody.
      if (hostname && visitor() && others.includes(hostname)) link.search = search + (search ? '&' : '?') + 'lt_visitor=' + visitor();
      if (/links/.test(plus)) {
        if (/^(mailto|tel):/.test(protocol)) event(protocol.slice(0, -1), { url: address });
        else if (link.download || /\.(pdf|zip|gz|dmg|exe|msi|csv|docx?|xlsx?|pptx?|mp[34])$/i.test(pathname)) event('download', { url: address });
        else if (/^http/.test(protocol) && hostname != location.hostname) event('outbound', { url: address });
      }
    };
    on('click', clicked);
    on('auxclick', clicked);
    // Handed over: the core has read it. By the prototype's method, which the core does not count as a page view.
    if (/[?&]lt_visitor=/.test(location.search)) {
      const clean = new URL(location);
      clean.searchParams.delete('lt_visitor');
      History.prototype.replaceState.call(history, history.state, '', clean);
    }

    /* ---- Engagement ---- */

    if (/engagement/.test(plus)) {
      let since = Date.now();
      let scroll = 0;
      const look = () => {
        scroll = Math.max(scroll, Math.round((scrollY + innerHeight) / document.documentElement.scrollHeight * 100));
      };
      look();
      on('scroll', look);
      on('visibilitychange', () => {
        const seconds = Math.round((Date.now() - since) / 1e3);
        if (document.hidden && seconds) event('engagement', { seconds, scroll: Math.min(scroll, 100) });
        since = Date.now();
      });
    }

    /* ---- Hidden fields ---- */

    if (/fill/.test(plus)) {
      let touch = {};
      new URLSearchParams(location.search).forEach((value, name) => {
        if (/^utm_|clid$|braid$|_fat_id$|click_id$|^(rdt_cid|epik|oppref)$/i.test(name)) touch[name.toLowerCase()] = value;
      });
      // Of this tab's visit, and only where the core keeps a visitor as well.
      const tab = 'lt_touch';
      attempt(() => {
        if (!visitor()) return;
        if (Object.keys(touch)[0]) sessionStorage[tab] = JSON.stringify(touch);
        else touch = JSON.parse(sessionStorage[tab]);
      })();
      const fill = attempt(() => {
        const values = { ...touch, visitor_id: visitor() };
        document.querySelectorAll('input[type=hidden]').forEach((input) => {
          input.value = input.value || values[input.name.toLowerCase()] || '';
        });
      });
      fill();
      new MutationObserver(fill).observe(document, { childList: true, subtree: true });
      // Denied: what is kept goes with the rest.
      window.leadtrail = (...call) => {
        core(...call);
        if (call[0] == 'consent' && call[1] != 'granted') attempt(() => delete sessionStorage[tab])();
      };
      leadtrail.version = core.version;
      leadtrail.plus = 1;
    }

    /* ---- Debugging ---- */

    if (/localhost|px_debug/.test(location)) {
      const say = (...what) => console.info('[leadtrail]', ...what);
      say(`version ${core.version}, pixel ${pixelId}, to ${endpoint || 'the script’s host'}`);
      say(`visitor ${visitor() || 'not kept'}${consent ? ': consent is asked for' : ''}${navigator.globalPrivacyControl ? ': Global Privacy Control' : ''}`);
      for (const form of document.forms) say('form', form, form.querySelector('[type=password]') ? 'has a password: skipped, but for data-px-form' : 'is watched');
      const { fetch } = window;
      window.fetch = (...request) => {
        const answer = fetch(...request);
        attempt(() => {
          const sent = JSON.parse(request[1].body);
          if (sent.pixel_id == pixelId) {
            answer.then(({ status }) => say(sent.event_type, sent, status == 204 ? 'dropped: a bot, or Global Privacy Control' : status < 300 ? 'stored' : status == 429 || status > 499 ? 'kept for later' : 'refused', status), () => say(sent.event_type, sent, 'kept for later: no answer'));
          }
        })();
        return answer;
      };
    }
  });
  // By a tag of its own it may come first.
  if ((window.leadtrail || {}).version) start();
  else attempt(() => document.querySelector('[data-pixel-id]').addEventListener('load', start))();
})((action) => (...input) => {
  try {
    return action(...input);
  } catch (ignored) {}
});
