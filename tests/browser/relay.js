// A relay in its own process, and a browser for its pages.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const STOP_MS = 5000;
const START_MS = 10_000;

/** @typedef {{ url: string, stop(): Promise<void> }} Relay */

/** @param {string[]} [options] @returns {Promise<Relay>} */
export async function startRelay(options = ['--listen', '[::]:0', '--http', '127.0.0.1:0']) {
  const binary = process.env.TERTULIA_BIN;
  assert.ok(binary, 'set TERTULIA_BIN to the relay, such as target/debug/tertulia');
  const certificates = await mkdtemp(join(tmpdir(), 'tertulia-'));
  const child = spawn(binary, ['serve', ...options, '--history', 'memory', '--certificate-dir', certificates], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const stop = async () => {
    const started = performance.now();
    child.kill('SIGTERM');
    const kill = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    const [code] = await exit;
    clearTimeout(kill);
    await rm(certificates, { recursive: true, force: true });
    assert.equal(code, 0, 'the relay stops with 0 on SIGTERM');
    assert.ok(performance.now() - started < STOP_MS, 'the relay stops within 5 s');
  };
  const timeout = setTimeout(() => child.kill('SIGKILL'), START_MS);
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /Page:\s+(http:\S+)/.exec(line)?.[1];
    if (!url) continue;
    clearTimeout(timeout);
    child.stdout.resume();
    return { url, stop };
  }
  throw new Error('the relay ended before it printed the address of its page');
}

export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ignoreDefaultArgs: ['--disable-quic'],
  });
}
