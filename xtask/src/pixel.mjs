// Makes static/built/ of the readable scripts: called by `cargo xtask pixel` with the folder of the minifier and ours.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const [tools, folder, ...names] = process.argv.slice(2);
const require = createRequire(join(tools, 'package.json'));
const swc = require('@swc/core');
const minifier = `@swc/core ${require('@swc/core/package.json').version}`;

// Its three modes differ by some bytes, and by nothing else.
const brotli = (text) => [constants.BROTLI_MODE_GENERIC, constants.BROTLI_MODE_TEXT, constants.BROTLI_MODE_FONT]
  .map((mode) => brotliCompressSync(text, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_LGWIN]: 16,
      [constants.BROTLI_PARAM_MODE]: mode,
      [constants.BROTLI_PARAM_SIZE_HINT]: text.length,
    },
  }))
  .sort((one, other) => one.length - other.length)[0];

mkdirSync(join(folder, 'built'), { recursive: true });
const sources = {};
for (const name of names) {
  const source = readFileSync(join(folder, name));
  const options = { ecma: 2018, module: false, compress: { ecma: 2018, passes: 3 }, mangle: { toplevel: true } };
  const text = Buffer.from(swc.minifySync(source.toString(), options).code);
  const [br, gz] = [brotli(text), gzipSync(text, { level: 9 })];
  writeFileSync(join(folder, 'built', name), text);
  writeFileSync(join(folder, 'built', `${name}.br`), br);
  writeFileSync(join(folder, 'built', `${name}.gz`), gz);
  sources[name] = `sha256-${createHash('sha256').update(source).digest('base64')}`;
  console.log(`${name}: ${source.length} bytes, ${text.length} minified, ${gz.length} gzip, ${br.length} brotli`);
}
writeFileSync(join(folder, 'built', 'sources.json'), `${JSON.stringify({ minifier, sources }, null, 2)}\n`);
