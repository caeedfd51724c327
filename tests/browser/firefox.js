// Stock Firefox with devices that are not there, driven by WebDriver BiDi.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch } from 'puppeteer-core';
import { startSoundServer } from './sound.js';

/** @typedef {import('puppeteer-core').Browser} Browser */

/** A Firefox that has not ended after so long hangs, in milliseconds. */
const STOP_MS = 15_000;

/** A camera whose colour changes and a microphone that hums, given without a question; sound without a click. */
const PREFERENCES = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  // Tests read what workers draw. Where the worker waits for the page just then, the page waits for the worker until this is over, 10 s if
  // it is left as it is, and reads black: what follows reads again.
  'gfx.offscreencanvas.snapshot-timeout-ms': 100,
};

/**
 * @typedef {object} Firefox
 * @property {Browser} browser
 * @property {() => Promise<void>} stop with its sound server
 */

/** @param {Record<string, unknown>} [preferences] beyond the usual ones @returns {Promise<Firefox>} */
export async function startFirefox(preferences = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'tertulia-firefox-'));
  const sound = await startSoundServer(directory);
  const browser = await launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    headless: true,
    extraPrefsFirefox: { ...PREFERENCES, ...preferences },
    // Root's Firefox refuses a home that is somebody else's.
    env: { ...process.env, HOME: directory, XDG_RUNTIME_DIR: directory, PULSE_SERVER: sound.address },
  });
  return {
    browser,
    async stop() {
      const kill = setTimeout(() => void browser.process()?.kill('SIGKILL'), STOP_MS);
      // Of one that was killed, the answer is that it is gone.
      await browser.close().catch(() => {});
      clearTimeout(kill);
      await sound.stop();
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
