// The npm package: what is packed can be imported, and its types are those of the code.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const HERE = fileURLToPath(new URL('.', import.meta.url));
const WEB = fileURLToPath(new URL('../../web/', import.meta.url));
/** What it has. */
const PROGRAM = ['consumer.ts', 'by-address.ts', 'tertulia.d.ts'];
const TSC = join(HERE, 'node_modules/.bin/tsc');

/** A program that has installed the package. @type {string} */
let program;

before(async () => {
  program = await mkdtemp(join(tmpdir(), 'tertulia-package-'));
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', program], { cwd: WEB });
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf('[')));
  await mkdir(join(program, 'node_modules/tertulia'), { recursive: true });
  await run('tar', ['-xzf', join(program, filename), '--strip-components=1', '-C', 'node_modules/tertulia'], { cwd: program });
  await writeFile(join(program, 'package.json'), '{ "type": "module" }');
  for (const file of PROGRAM) await copyFile(join(HERE, 'package', file), join(program, file));
});

after(() => rm(program, { recursive: true, force: true }));

for (const [module, resolution] of [['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
  test(`a program in TypeScript compiles against it, with modules resolved as ${resolution}`, { timeout: 120_000 }, async () => {
    const options = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,dom,dom.iterable,dom.asynciterable', '--types', ''];
    const { stdout } = await run(TSC, [...options, '--module', module, '--moduleResolution', resolution, ...PROGRAM], { cwd: program }).catch((error) => error);
    assert.equal(stdout, '');
  });
}

test('its licences come with it', async () => {
  for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) {
    const [packed, ours] = await Promise.all([join(program, 'node_modules/tertulia', name), join(WEB, '..', name)].map((path) => readFile(path, 'utf8')));
    assert.equal(packed, ours);
  }
});

test('it is imported by its name', { timeout: 120_000 }, async () => {
  const { stdout } = await run('node', ['--input-type=module', '--eval', 'import { Room } from "tertulia"; console.log(typeof Room.connect)'], { cwd: program });
  assert.equal(stdout.trim(), 'function');
});
