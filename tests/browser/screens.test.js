// Every screen of the page with invented people, in light and dark, on a desk and on a telephone (what goes wrong in two of the four looks):
// kept as pictures, and those that accessibility.test.js does not come to are examined by the rules of axe.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { violations } from './axe.js';
import * as meeting from './meeting.js';
import { PHONE, complaints, openPanel, shoot, tile } from './meeting.js';
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
  assert.deepEqual(complaints, [], 'no console errors, no policy violations, no uncaught errors');
});

/** @param {string} path @param {Parameters<typeof pretended.open>[2]} options */
const open = (path, options) => pretended.open(browser, new URL(path, pretend.url).href, options);

/** @param {meeting.ContextOptions} options @param {string} [fragment] */
const meet = (options, fragment = '') => pretended.meet(browser, new URL(`/r/calm-amber-harbor${fragment}`, pretend.url).href, options);

/** Waits for the picture of oneself. @param {Page} page */
const ownPicture = (page) => page.waitForFunction(() => /** @type {HTMLVideoElement | null} */ (document.querySelector('.tile video'))?.videoWidth);

/** In these two all colours, and both shapes of the page, are met. */
const EXAMINED = ['desktop-light', 'phone-dark'];

/** Keeps a picture, and asks axe. @param {Page} page @param {string} name @param {string} look */
async function examine(page, name, look) {
  await shoot(page, `${name}-${look}`);
  if (EXAMINED.includes(look)) assert.deepEqual(await violations(page), [], name);
}

for (const [look, options] of /** @type {[string, meeting.ContextOptions][]} */ ([
  ['desktop-light', {}],
  ['desktop-dark', { colorScheme: 'dark' }],
  ['phone-light', { viewport: PHONE, hasTouch: true }],
  ['phone-dark', { viewport: PHONE, colorScheme: 'dark', hasTouch: true }],
])) {
  test(`before the meeting: ${look}`, { timeout: 120_000 }, async () => {
    const landing = await open('/', options);
    await shoot(landing, `landing-${look}`);
    const prejoin = await open('/r/calm-amber-harbor#key=AAECAwQFBgcICQoLDA0ODw', options);
    await prejoin.locator('[data-testid="preview"][data-state="on"]').waitFor();
    await prejoin.getByTestId('name').fill('Ana Lucía');
    await shoot(prejoin, `prejoin-${look}`);
    const denied = await open('/r/calm-amber-harbor', { ...options, script: `window.brokenDevices = { camera: 'device_denied', microphone: 'device_denied' }` });
    await denied.locator('[data-testid="media-problem"][data-code="device_denied"]').waitFor();
    await denied.getByTestId('name').fill('Ana Lucía');
    await shoot(denied, `prejoin-denied-${look}`);
    await meeting.closeAll(landing, prejoin, denied);
  });

  if (EXAMINED.includes(look)) test(`what goes wrong before the meeting: ${look}`, { timeout: 120_000 }, async () => {
    const insecure = await open('/r/calm-amber-harbor', { ...options, script: "Object.defineProperty(window, 'isSecureContext', { value: false })" });
    await insecure.getByTestId('insecure').waitFor();
    assert.equal(await insecure.getByTestId('insecure').textContent(), 'https://localhost:4433/r/calm-amber-harbor');
    await examine(insecure, 'prejoin-insecure', look);
    await insecure.getByTestId('name').fill('Ana Lucía');
    await insecure.getByTestId('join').click();
    await insecure.getByTestId('meeting-problem').waitFor();
    await let_(insecure, (pretend) => pretend.join('Bo'));
    await examine(insecure, 'meeting-insecure', look);
    await insecure.goto(pretend.url);
    await insecure.getByTestId('landing-problem').waitFor();
    await examine(insecure, 'landing-insecure', look);
    const locked = await open('/r/calm-amber-harbor', { ...options, script: "window.refuses = { code: 'room_locked', message: 'The room is locked. Ask someone in it to unlock it, and join again.' }" });
    await locked.getByTestId('name').fill('Ana Lucía');
    await locked.getByTestId('join').click();
    await locked.locator('#join-error', { hasText: 'locked' }).waitFor();
    await shoot(locked, `prejoin-locked-${look}`);
    const damaged = await open('/r/calm-amber-harbor#key=short', { ...options, script: "window.brokenDevices = { camera: 'device_busy', microphone: 'device_missing' }" });
    await damaged.locator('#join-error', { hasText: 'damaged' }).waitFor();
    await damaged.getByTestId('media-problem').waitFor();
    await shoot(damaged, `prejoin-damaged-${look}`);
    const refused = await open('/r/calm-amber-harbor', { ...options, script: "window.refuses = { code: 'token_invalid', message: 'The access token is not valid for this room. Get a new one where you got this one.' }" });
    await refused.getByTestId('name').fill('Ana Lucía');
    await refused.getByTestId('join').click();
    await refused.locator('#token').waitFor();
    await examine(refused, 'prejoin-refused', look);
    await meeting.closeAll(insecure, locked, damaged, refused);
  });

  test(`in the meeting: ${look}`, { timeout: 180_000 }, async () => {
    const page = await meet(options, '#key=AAECAwQFBgcICQoLDA0ODw');
    await ownPicture(page);
    await shoot(page, `meeting-${look}`);
    await let_(page, (pretend) => {
      pretend.share('Bo');
      pretend.picture('Carmen', 'sealed');
    });
    await shoot(page, `screen-${look}`);
    await let_(page, (pretend) => {
      pretend.say('Bo', 'Good morning! Is everyone here?');
      pretend.say('Bo', 'I have the numbers from last week ready.');
      pretend.say('Carmen', 'Two minutes, my coffee is not ready ☕');
    });
    await shoot(page, `unread-${look}`);
    await meeting.say(page, 'Take your time');
    await shoot(page, `chat-${look}`);
    await meeting.closePanel(page);
    await openPanel(page, 'people');
    await page.getByRole('button', { name: 'Actions for Bo' }).click();
    await shoot(page, `people-${look}`);
    await meeting.closePanel(page);
    await openPanel(page, 'statistics');
    await shoot(page, `statistics-${look}`);
    await meeting.closePanel(page);
    await page.getByTestId('open-settings').click();
    await shoot(page, `settings-${look}`);
    await page.getByTestId('settings-close').click();
    await page.getByTestId('encryption').click();
    await page.locator('#encryption-note').waitFor();
    await examine(page, 'encryption', look);
    await page.getByTestId('encryption').click();
    await openPanel(page, 'people');
    await page.getByTestId('end').click();
    await page.getByTestId('end-confirm').waitFor();
    await examine(page, 'end', look);
    await page.getByRole('button', { name: 'Cancel' }).click();
    await meeting.closePanel(page);
    await let_(page, (pretend) => pretend.reconnect());
    await examine(page, 'reconnecting', look);
    await let_(page, (pretend) => pretend.run('websocket', 'udp_blocked'));
    await page.getByTestId('leave').click();
    await shoot(page, `left-${look}`);
    await meeting.closeAll(page);
  });

  if (EXAMINED.includes(look)) test(`what goes wrong in the meeting: ${look}`, { timeout: 120_000 }, async () => {
    const page = await meet(options);
    await let_(page, (pretend) => {
      for (const name of ['Dmitri', 'Elif', 'Fatou']) pretend.join(name);
      pretend.picture('Bo', 'stalled');
      pretend.picture('Carmen', 'failed');
      pretend.picture('Dmitri', 'waiting');
      pretend.picture('Elif', 'sealed');
      pretend.picture('Fatou', 'held');
      pretend.lose('camera', 'device_lost');
      pretend.lose('microphone', 'codec_failed');
    });
    for (const [name, picture] of /** @type {const} */ ([['Bo', 'stalled'], ['Carmen', 'failed'], ['Dmitri', 'waiting'], ['Elif', 'sealed'], ['Fatou', 'held'], ['Ana Lucía', 'off']])) {
      await meeting.shows(page, name, { picture });
    }
    await meeting.isToasted(page, 'Sending your microphone failed.');
    await let_(page, (pretend) => {
      pretend.share('Fatou');
      pretend.mute('Fatou', 'screen', true);
    });
    await meeting.shows(page, 'Fatou', { source: 'screen', picture: 'off' });
    await shoot(page, `paused-${look}`);
    await tile(page, 'Fatou', 'screen').getByTestId('pin').click();
    await examine(page, 'problems', look);
    await let_(page, (pretend) => pretend.refuseChat());
    await meeting.say(page, 'Can you hear me?');
    await page.locator('.message.failed').waitFor();
    await let_(page, (pretend) => pretend.holdChat());
    await meeting.say(page, 'I hear you');
    await page.locator('.message.pending').waitFor();
    await examine(page, 'unsent', look);
    await meeting.closePanel(page);
    await let_(page, (pretend) => pretend.remove());
    await meeting.ended(page, 'removed');
    await examine(page, 'removed', look);
    await meeting.closeAll(page);
  });

  test(`few and many: ${look}`, { timeout: 120_000 }, async () => {
    const page = await open('/r/calm-amber-harbor', options);
    await meeting.enterWithDevices(page, 'Ana Lucía');
    await ownPicture(page);
    await shoot(page, `alone-${look}`);
    for (const [count, names] of /** @type {[number, string[]][]} */ ([[2, ['Bo']], [6, ['Carmen', 'Dmitri', 'Elif', 'Fatou']], [20, [...'GHIJKLMNOPQRST']]])) {
      for (const name of names) await page.evaluate((name) => /** @type {any} */ (window).pretend.join(name, { camera: name !== 'Elif' && name !== 'J' }), name);
      await shoot(page, `of-${count}-${look}`);
    }
    await meeting.closeAll(page);
  });
}
