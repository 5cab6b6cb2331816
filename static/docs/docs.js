// Shows /api/openapi.json. All that is shown is text: nothing of the description becomes markup.
'use strict';

const METHODS = ['get', 'post', 'put', 'patch', 'delete', 'options'];
// Deeper fields stand behind a click.
const DEPTH_OPEN = 1;
const VALUES_SHOWN = 12;

let api;

/** An element with attributes and children; texts become text, with `code` in backticks. */
function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

function prose(text) {
  return String(text).split('`').map((part, index) => (index % 2 ? el('code', {}, part) : part));
}

function paragraphs(text) {
  return String(text || '').split('\n\n').filter(Boolean).map((part) => el('p', {}, prose(part)));
}

function resolve(schema) {
  const name = schema.$ref && schema.$ref.split('/').pop();
  if (!name) return { schema, name: null };
  const { $ref, ...beside } = schema;
  return { schema: { ...api.components.schemas[name], ...beside }, name };
}

/** Without the alternative `null`; whether there was one. */
function bare(given) {
  let { schema } = resolve(given);
  const isNull = (one) => one.type === 'null';
  if (schema.anyOf && schema.anyOf.some(isNull)) {
    const others = schema.anyOf.filter((one) => !isNull(one));
    const { anyOf, ...beside } = schema;
    if (others.length === 1) schema = { ...resolve(others[0]).schema, ...beside };
    else schema = { ...beside, anyOf: others };
    return { schema, nullable: true };
  }
  if (Array.isArray(schema.type) && schema.type.includes('null')) {
    const types = schema.type.filter((type) => type !== 'null');
    return { schema: { ...schema, type: types.length === 1 ? types[0] : types }, nullable: true };
  }
  return { schema, nullable: false };
}

function typeName(given) {
  const { schema, nullable } = bare(given);
  const or = nullable ? ', or null' : '';
  if ('const' in schema) return JSON.stringify(schema.const) + or;
  if (schema.enum || (schema.oneOf && schema.oneOf.every((one) => 'const' in one))) return 'one of these' + or;
  if (schema.allOf) return typeName(schema.allOf[0]) + or;
  if (schema.type === 'array') {
    const items = typeName(schema.items || {});
    return `list of ${items === 'one of these' ? 'these words' : items}${or}`;
  }
  if (schema.anyOf || schema.oneOf) return 'one of these forms' + or;
  const formats = { 'date-time': 'instant (RFC 3339)', uuid: 'UUID', uri: 'URL' };
  if (formats[schema.format]) return formats[schema.format] + or;
  const words = { string: 'text', integer: 'whole number', boolean: 'true or false', object: 'object', number: 'number' };
  const types = [].concat(schema.type || 'anything');
  return types.map((type) => words[type] || type).join(' or ') + or;
}

function limits(schema) {
  const found = [];
  if (schema.minimum !== undefined && schema.maximum !== undefined) found.push(`${schema.minimum} to ${schema.maximum}`);
  else if (schema.minimum) found.push(`at least ${schema.minimum}`);
  if (schema.maxLength) found.push(`${schema.maxLength} characters at most`);
  if (schema.minItems) found.push(`${schema.minItems} at least`);
  if (schema.maxItems) found.push(`${schema.maxItems} at most`);
  return found.join(', ');
}

/** The words that a schema allows, with what they mean. */
function values(schema) {
  if (schema.oneOf && schema.oneOf.every((one) => 'const' in one)) {
    return el('ul', {}, schema.oneOf.map((one) =>
      el('li', {}, el('code', {}, one.const), one.description ? [': ', prose(one.description)] : [])));
  }
  if (!schema.enum) return null;
  const words = schema.enum.map((word) => el('code', {}, String(word)));
  const spaced = (some) => some.flatMap((word, index) => (index ? [' ', word] : [word]));
  if (words.length <= VALUES_SHOWN) return el('p', {}, spaced(words));
  return el('details', {}, el('summary', { class: 'more' }, `${words.length} values`), el('p', {}, spaced(words)));
}

/** The inside of a schema behind a click, made when it is opened: settings hold a hundred fields. */
function behind(schema, depth, sent) {
  const details = el('details', {}, el('summary', { class: 'more' }, 'its fields'));
  details.addEventListener('toggle', () => details.append(shape(schema, depth + 1, sent)), { once: true });
  return details;
}

/** What is inside a schema that is sent or answered: fields, items, alternatives, words. Null where its type says it all. */
function shape(given, depth, sent = true) {
  const { schema } = bare(given);
  if (schema.properties) {
    const required = new Set(schema.required || []);
    const names = Object.keys(schema.properties).sort((a, b) => required.has(b) - required.has(a));
    return el('dl', { class: 'fields' }, names.flatMap((name) => field(name, schema.properties[name], required.has(name), depth, sent)));
  }
  if (schema.type === 'array' && schema.items) return shape(schema.items, depth, sent);
  // An object with names of one's own: what stands under each.
  if (schema.additionalProperties instanceof Object) return shape(schema.additionalProperties, depth, sent);
  const alternatives = schema.anyOf || (schema.oneOf && !schema.oneOf.every((one) => 'const' in one) && schema.oneOf);
  if (alternatives) {
    const all = alternatives.map((one) => {
      const { schema: whole, name } = resolve(one);
      const inner = shape(one, depth, sent);
      return inner && [el('h4', {}, name || 'or'), ...paragraphs(whole.description), inner];
    });
    return all.some(Boolean) ? el('div', {}, all) : null;
  }
  return values(schema);
}

function field(name, given, must, depth, sent) {
  const { schema } = bare(given);
  const term = el('dt', {}, el('span', { class: 'name' }, name), el('span', { class: 'type' }, typeName(given)),
    must === sent ? el('span', { class: 'must' }, sent ? 'required' : 'may be absent') : null);
  const lines = [];
  if (schema.description) lines.push(el('div', {}, prose(schema.description.split('\n\n')[0])));
  const bound = limits(schema);
  if (bound) lines.push(el('div', {}, bound));
  const preset = schema.default;
  if (preset !== undefined && !(Array.isArray(preset) && !preset.length)) {
    lines.push(el('div', {}, 'Default: ', el('code', {}, shown(preset))));
  }
  if (schema.examples) lines.push(el('div', {}, 'For example ', el('code', {}, shown(schema.examples[0]))));
  const isDeep = schema.properties || (schema.items && bare(schema.items).schema.properties);
  const inner = isDeep && depth >= DEPTH_OPEN
    ? behind(given, depth, sent)
    : shape(given, depth + 1, sent);
  return [term, el('dd', {}, lines, inner)];
}

/** A value as it is written: a text without its quotes. */
const shown = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

/** A value that a schema allows, for an example. */
function sample(given, name, depth = 0) {
  const { schema } = bare(given);
  if (schema.default !== undefined) return schema.default;
  if ('const' in schema) return schema.const;
  if (schema.examples) return schema.examples[0];
  if (schema.enum) return schema.enum[0];
  if (schema.oneOf || schema.anyOf || schema.allOf) return sample((schema.oneOf || schema.anyOf || schema.allOf)[0], name, depth);
  if (schema.properties) {
    const required = schema.required || [];
    const wanted = required.length ? required : Object.keys(schema.properties).slice(0, 1);
    return Object.fromEntries(wanted.map((key) => [key, sample(schema.properties[key], key, depth + 1)]));
  }
  if (schema.type === 'array') return [sample(schema.items || {}, name, depth + 1)];
  if (name === 'page_url') return 'https://www.example.com/?utm_source=news';
  if (name === 'name') return 'Acme';
  return schema.type === 'integer' ? 1 : 'text';
}

function curl(method, path, operation) {
  const parts = ['curl'];
  if (method !== 'get') parts.push(`-X ${method.toUpperCase()}`);
  const named = { '{id}': path.includes('/keys') ? 'KEY_ID' : path.includes('pixels/{id}') ? 'PIXEL_ID' : 'PROJECT', '{name}': '' };
  let url = path.replace(/\{\w+\}/g, (brace) => named[brace] || brace);
  const parameter = (operation.parameters || []).find((one) => one.in === 'path' && one.schema.enum);
  if (parameter) url = path.replace(`{${parameter.name}}`, parameter.schema.enum[0]);
  const query = path === '/api/track/pixel.gif' ? '?pixel_id=px_0123456789abcdef&page_url=https%3A%2F%2Fwww.example.com%2F' : '';
  const at = parts.push(`'${location.origin}${url}${query}'`) - 1;
  if ((operation.security || []).length) parts.push('-H "Authorization: Bearer $LEADTRAIL_KEY"');
  const content = operation.requestBody && Object.entries(operation.requestBody.content)[0];
  if (content) {
    parts.push(`-H 'Content-Type: ${content[0]}'`);
    parts.push(`--data '${JSON.stringify(sample(content[1].schema))}'`);
  }
  return `${parts.slice(0, at + 1).join(' ')}${parts.slice(at + 1).map((part) => ` \\\n  ${part}`).join('')}`;
}

function answerOf(status, answer) {
  const summary = el('summary', {}, el('span', { class: `status s${status[0]}` }, status), el('span', {}, prose(answer.description)));
  const inner = el('div', { class: 'inner' });
  const headers = Object.keys(answer.headers || {}).filter((name) => name !== 'X-Request-Id');
  if (headers.length) inner.append(el('p', { class: 'type' }, 'Headers: ', headers.flatMap((name, at) => [at ? ', ' : '', el('code', {}, name)])));
  for (const [kind, { schema }] of Object.entries(answer.content || {})) {
    inner.append(el('p', { class: 'type' }, kind));
    const within = schema && shape(schema, 0, false);
    if (within) inner.append(within);
  }
  return el('details', { class: 'answer' }, summary, inner.childNodes.length ? inner : null);
}

function article(method, path, operation) {
  const body = el('div', { class: 'body' }, paragraphs(operation.description));
  const fill = () => {
    if (operation.parameters) {
      body.append(el('h3', {}, 'Parameters'), el('dl', { class: 'fields' }, operation.parameters.flatMap((one) =>
        field(one.name, { ...one.schema, description: `${one.description} In the ${one.in}.` }, one.required, 1, true))));
    }
    if (operation.requestBody) {
      const kinds = Object.keys(operation.requestBody.content);
      body.append(el('h3', {}, 'Body'), el('p', { class: 'type' }, kinds.join(' or ')));
      const { schema } = Object.values(operation.requestBody.content)[0];
      const within = shape(schema, 0);
      if (within) body.append(within);
    }
    body.append(el('h3', {}, 'For example'), el('pre', { tabindex: '0' }, el('code', {}, curl(method, path, operation))));
    body.append(el('h3', {}, 'Answers'), ...Object.entries(operation.responses).map(([status, answer]) => answerOf(status, answer)));
  };
  const details = el('details', {},
    el('summary', {}, el('span', { class: `method ${method}` }, method), el('span', { class: 'path' }, path),
      el('span', { class: 'what' }, operation.summary)), body);
  details.addEventListener('toggle', fill, { once: true });
  const words = [method, path, operation.operationId, operation.summary, operation.description,
    ...(operation['x-leadtrail-scopes'] || []), ...operation.tags];
  return el('article', { id: operation.operationId, 'data-words': words.join(' ').toLowerCase() }, details);
}

function show() {
  document.getElementById('version').textContent = api.info.version;
  const about = document.getElementById('about');
  about.append(...paragraphs(api.info.description), el('p', {}, 'For programs: ', el('a', { href: '/api/openapi.json' }, '/api/openapi.json'), ' (OpenAPI 3.1).'));
  const contents = document.getElementById('contents');
  const operations = document.getElementById('operations');
  for (const tag of api.tags) {
    const section = el('section', { class: 'tag' }, el('h2', {}, tag.name), el('p', {}, prose(tag.description)));
    const links = el('ul', {});
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS) {
        const operation = item[method];
        if (!operation || !operation.tags.includes(tag.name)) continue;
        section.append(article(method, path, operation));
        links.append(el('li', { 'data-of': operation.operationId },
          el('a', { href: `#${operation.operationId}` }, el('span', { class: `method ${method}` }, method), el('span', {}, operation.summary))));
      }
    }
    operations.append(section);
    contents.append(el('section', {}, el('h2', {}, tag.name), links));
  }
}

function open() {
  const article = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = article && article.querySelector('details');
  if (details) {
    if (article.hidden) {
      document.getElementById('search').value = '';
      search('');
    }
    details.open = true;
    article.scrollIntoView();
  }
}

function search(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const article of document.querySelectorAll('article')) {
    const matches = words.every((word) => article.dataset.words.includes(word));
    article.hidden = !matches;
    document.querySelector(`[data-of="${article.id}"]`).hidden = !matches;
    found += matches;
  }
  for (const section of document.querySelectorAll('.tag, nav section')) {
    section.hidden = !section.querySelector('article:not([hidden]), li:not([hidden])');
  }
  const state = document.getElementById('state');
  state.hidden = !words.length;
  state.textContent = found === 1 ? 'One operation.' : `${found || 'No'} operations.`;
}

fetch('/api/openapi.json')
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`))))
  .then((description) => {
    api = description;
    show();
    const field = document.getElementById('search');
    field.addEventListener('input', () => search(field.value));
    search(field.value);
    addEventListener('hashchange', open);
    open();
  })
  .catch((error) => {
    document.getElementById('state').textContent = `The description cannot be read (${error.message}).`;
  });
