// What the page does in a meeting, with invented people.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as meeting from './meeting.js';
import { complaints, isToasted, shows, tile } from './meeting.js';
import * as pretended from './pretend/meet.js';
import { let_ } from './pretend/meet.js';
import { startPretend } from './pretend/server.js';
import { allStarted, startBrowser } from './relay.js';

/** @typedef {import('playwright-core').Page} Page */

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {{ url: string, stop(): void }} */
let pretend;

before(async () => {
  [browser, pretend] = await allStarted([startBrowser(), startPretend()]);
});

after(async () => {
  await browser?.close();
  pretend?.stop();
  assert.deepEqual(complaints, []);
});

/** @param {Parameters<typeof pretended.meet>[2]} [options] */
const meet = (options) => pretended.meet(browser, new URL('/r/calm-amber-harbor', pretend.url).href, options);

test('a screen that is paused says so, and goes on', { timeout: 30_000 }, async () => {
  const page = await meet();
  await let_(page, (pretend) => pretend.share('Bo'));
  const screen = tile(page, 'Bo', 'screen');
  assert.equal(await screen.getAttribute('aria-label'), 'Bo’s screen');
  await let_(page, (pretend) => pretend.mute('Bo', 'screen', true));
  await shows(page, 'Bo', { source: 'screen', picture: 'off', pinned: true });
  await screen.getByText('The screen is paused.').waitFor();
  assert.equal(await screen.getAttribute('aria-label'), 'Bo’s screen, The screen is paused.');
  await let_(page, (pretend) => pretend.mute('Bo', 'screen', false));
  await shows(page, 'Bo', { source: 'screen', picture: 'on' });
  assert.equal(await screen.getAttribute('aria-label'), 'Bo’s screen');
  await meeting.closeAll(page);
});

test('who shares a screen is told that it pauses, where it does', { timeout: 30_000 }, async () => {
  for (const [script, pauses] of /** @type {const} */ ([['', false], ['delete globalThis.MediaStreamTrackProcessor', true]])) {
    const page = await meet({ script });
    await meeting.toggle(page, 'screen');
    await shows(page, 'Ana Lucía', { source: 'screen', picture: 'on' });
    if (pauses) await isToasted(page, 'this browser pauses the screen');
    assert.equal(await page.getByTestId('toast').filter({ hasText: 'pauses' }).count(), pauses ? 1 : 0);
    await meeting.closeAll(page);
  }
});
