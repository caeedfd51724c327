// A relay in its own process, and a browser for its pages.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const STOP_MS = 5000;
const START_MS = 10_000;
const ANY_PORTS = ['--listen', '[::]:0', '--http', '127.0.0.1:0'];

/**
 * @typedef {object} Relay
 * @property {string} url of its page
 * @property {number} port of QUIC and TLS
 * @property {() => Promise<number>} cpuSeconds computing time that it took so far
 * @property {() => Promise<void>} stop
 * @property {() => Promise<void>} kill as a crash ends it
 * @property {() => Promise<void>} startAgain on the same ports, with what it kept
 */

/** @param {string[]} [options] beyond the ports @param {readonly string[]} [ports] @returns {Promise<Relay>} */
export async function startRelay(options = [], ports = ANY_PORTS) {
  const directory = await mkdtemp(join(tmpdir(), 'tertulia-'));
  const places = ['--certificate-dir', directory, '--data-dir', directory];
  let running = await start([...options, ...places, ...ports]);
  const { url } = running;
  const { webtransport: port } = await (await fetch(new URL('/relay.json', url))).json();
  const same = ['--listen', `[::]:${port}`, '--http', `127.0.0.1:${new URL(url).port}`];
  return {
    url,
    port,
    cpuSeconds: () => cpuSeconds(running.child.pid),
    async stop() {
      const code = await end(running, 'SIGTERM');
      await rm(directory, { recursive: true, force: true });
      assert.equal(code, 0, 'the relay stops with 0 on SIGTERM');
    },
    kill: async () => void (await end(running, 'SIGKILL')),
    startAgain: async () => void (running = await start([...options, ...places, ...same])),
  };
}

/**
 * As `Promise.all`; but if something does not start, what did is ended: a browser that is left over keeps the tests from ending.
 * @template {readonly unknown[] | []} Started
 * @param {Started} starting
 * @returns {Promise<{ -readonly [Key in keyof Started]: Awaited<Started[Key]> }>}
 */
export async function allStarted(starting) {
  const settled = await Promise.allSettled(starting);
  const started = settled.map((one) => (one.status === 'fulfilled' ? /** @type {any} */ (one.value) : null));
  for (const one of settled) {
    if (one.status === 'fulfilled') continue;
    await Promise.all(started.map((other) => other?.stop?.() ?? other?.close?.()));
    throw one.reason;
  }
  return /** @type {any} */ (started);
}

/** `utime` and `stime` of proc(5), in Linux's ticks of a hundredth second. @param {number | undefined} pid */
async function cpuSeconds(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** @param {string[]} options */
async function start(options) {
  const binary = process.env.TERTULIA_BIN;
  assert.ok(binary, 'set TERTULIA_BIN to the relay, such as target/debug/tertulia');
  const child = spawn(binary, ['serve', ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const timeout = setTimeout(() => child.kill('SIGKILL'), START_MS);
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /Page:\s+(http:\S+)/.exec(line)?.[1];
    if (!url) continue;
    clearTimeout(timeout);
    child.stdout.resume();
    return { child, exit, url };
  }
  throw new Error('the relay ended before it printed the address of its page');
}

/** @param {Awaited<ReturnType<typeof start>>} running @param {'SIGTERM' | 'SIGKILL'} signal */
async function end({ child, exit }, signal) {
  const started = performance.now();
  child.kill(signal);
  const kill = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  const [code] = await exit;
  clearTimeout(kill);
  assert.ok(performance.now() - started < STOP_MS, 'the relay ends within 5 s');
  return code;
}

/**
 * Chromium with devices that are not there: its cameras show a pattern, its microphones hear a beep twice a second, its screen is a
 * picture that changes.
 * @param {object} [options]
 * @param {number} [options.cameras] the second one gives frames that no encoder takes without a graphics card, the third one a depth image
 * @param {boolean} [options.denied] whether each question for a device is answered with no
 * @param {string[]} [options.args] more of its command line
 */
export function startBrowser({ cameras = 4, denied = false, args = [] } = {}) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      `--use-fake-device-for-media-stream=fps=30,device-count=${cameras}`, `--use-fake-ui-for-media-stream${denied ? '=deny' : ''}`, ...args,
    ],
    ignoreDefaultArgs: ['--disable-quic'],
  });
}
