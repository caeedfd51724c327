// What the page does in a meeting, with invented people.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as meeting from './meeting.js';
import { complaints, isSwitched, isToasted, shows, tile } from './meeting.js';
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

test('a tile is pinned and put back, and a screen comes to the front by itself', { timeout: 30_000 }, async () => {
  const page = await meet();
  const layout = (/** @type {string} */ name) => page.locator(`#stage[data-layout="${name}"]`).waitFor();
  const pin = (/** @type {string} */ name) => page.getByRole('button', { name, exact: true });
  await layout('grid');
  await tile(page, 'Carmen').hover();
  await pin('Make Carmen large').click();
  await layout('focus');
  await page.locator('#focus').getByTestId('tile').and(tile(page, 'Carmen')).waitFor();
  assert.equal(await pin('Put Carmen back among the others').getAttribute('aria-pressed'), 'true');
  assert.deepEqual((await meeting.tiles(page)).filter(({ pinned }) => pinned).map(({ name }) => name), ['Carmen']);

  // Whom one chose stays large; the screen comes once nobody is chosen.
  await let_(page, (pretend) => pretend.share('Bo'));
  await shows(page, 'Carmen', { pinned: true });
  await pin('Put Carmen back among the others').click();
  await shows(page, 'Bo', { source: 'screen', pinned: true });
  await pin('Put Bo’s screen back among the others').click();
  await layout('grid');
  await shows(page, 'Bo', { source: 'screen', pinned: false });

  // Who leaves is no longer large.
  await tile(page, 'Carmen').hover();
  await pin('Make Carmen large').click();
  await layout('focus');
  await let_(page, (pretend) => pretend.leave('Carmen'));
  await layout('grid');
  await meeting.closeAll(page);
});

test('who speaks is marked, and comes to the first page', { timeout: 30_000 }, async () => {
  const page = await meet();
  await shows(page, 'Bo', { speaking: true });
  await shows(page, 'Carmen', { speaking: false });
  await let_(page, (pretend) => pretend.speak('Carmen'));
  await shows(page, 'Carmen', { speaking: true });
  await shows(page, 'Bo', { speaking: false });

  await let_(page, (pretend) => { for (const name of 'DEFGHIJKLMNOPQRST') pretend.join(name); });
  await page.getByTestId('page-next').waitFor();
  const shown = async () => (await meeting.tiles(page)).map(({ name }) => name);
  assert.equal((await shown()).includes('T'), false);
  await let_(page, (pretend) => pretend.speak('T'));
  await shows(page, 'T', { speaking: true });
  assert.deepEqual((await shown()).slice(0, 3), ['Ana Lucía', 'T', 'Bo']);
  await page.getByTestId('page-next').click();
  await tile(page, 'S').waitFor();
  assert.equal((await shown()).includes('T'), false);
  await meeting.closeAll(page);
});

test('single keys do things, not while one types, and not once they are switched off', { timeout: 30_000 }, async () => {
  const page = await meet();
  const panel = (/** @type {string} */ name) => page.locator(`[data-testid="panel"][data-shown="${name}"]`).waitFor({ state: 'attached' });
  const press = (/** @type {string} */ key) => page.keyboard.press(key);
  const isMute = async () => assert.equal(await page.getByTestId('toggle-microphone').getAttribute('aria-pressed'), 'false');
  await isSwitched(page, 'microphone', true);
  await press('m');
  await isSwitched(page, 'microphone', false);
  await press('v');
  await isSwitched(page, 'camera', false);
  await press('s');
  await isSwitched(page, 'screen', true);
  await press('p');
  await panel('people');
  await press('i');
  await panel('statistics');
  await press('c');
  await panel('chat');
  // The field has the focus now, and the keys are letters.
  await page.keyboard.type('mvp');
  assert.equal(await page.getByTestId('text').inputValue(), 'mvp');
  await isMute();
  await press('Escape');
  await panel('');
  await press('Control+p');
  await panel('');
  await press('?');
  await page.getByTestId('settings').waitFor();
  await press('m');
  await isMute();
  await page.getByTestId('shortcuts').uncheck();
  await press('Escape');
  await page.getByTestId('settings').waitFor({ state: 'hidden' });
  for (const key of 'mvp') await press(key);
  await page.getByTestId('toggle-people').click();
  await panel('people');
  await isMute();
  await isSwitched(page, 'camera', false);
  // They stay so on this device.
  assert.equal(await page.evaluate(() => JSON.parse(localStorage.getItem('tertulia.choices') ?? '{}').shortcuts), false);
  await meeting.closeAll(page);
});

test('where the browser keeps the sound back, a click turns it on', { timeout: 30_000 }, async () => {
  const page = await meet();
  const button = page.getByTestId('start-audio');
  assert.equal(await button.isVisible(), false);
  await let_(page, (pretend) => pretend.blockSound());
  await button.click();
  await let_(page, (pretend) => pretend.allowSound());
  await button.click();
  await button.waitFor({ state: 'hidden' });
  await meeting.closeAll(page);
});

test('an admin mutes someone, and is not offered what is muted already', { timeout: 30_000 }, async () => {
  const page = await meet();
  await meeting.openPanel(page, 'people');
  await page.getByRole('button', { name: 'Actions for Bo' }).click();
  const mutes = page.getByTestId('mute-track').filter({ visible: true });
  assert.deepEqual(await mutes.allTextContents(), ['Switch off microphone', 'Switch off camera']);
  await mutes.first().click();
  await shows(page, 'Bo', { muted: true });
  await page.getByRole('button', { name: 'Actions for Bo' }).click();
  assert.deepEqual(await mutes.allTextContents(), ['Switch off camera']);
  await meeting.closeAll(page);
});

test('who is muted by an admin is told, and can speak again', { timeout: 30_000 }, async () => {
  const page = await meet();
  await isSwitched(page, 'microphone', true);
  await let_(page, (pretend) => pretend.muteByAdmin('microphone'));
  await isToasted(page, 'An admin switched off your microphone. You can switch it on again.');
  await isSwitched(page, 'microphone', false);
  await shows(page, 'Ana Lucía', { muted: true });
  await meeting.toggle(page, 'microphone');
  await isSwitched(page, 'microphone', true);
  await shows(page, 'Ana Lucía', { muted: false });
  await meeting.closeAll(page);
});

test('nothing moves for who wants no motion', { timeout: 30_000 }, async () => {
  for (const reducedMotion of /** @type {const} */ (['no-preference', 'reduce'])) {
    const page = await meet({ reducedMotion });
    await let_(page, (pretend) => {
      pretend.say('Bo', 'Good morning!');
      pretend.reconnect();
    });
    await meeting.openPanel(page, 'chat');
    const moving = await page.evaluate(() => {
      const styles = [...document.querySelectorAll('*')].flatMap((node) => [null, '::before', '::after'].map((part) => getComputedStyle(node, part)));
      return styles.filter(({ animationName, transitionDuration }) => animationName !== 'none' || !/^0s(, 0s)*$/.test(transitionDuration)).length;
    });
    assert.equal(moving > 0, reducedMotion === 'no-preference', `${moving} of ${reducedMotion}`);
    await meeting.closeAll(page);
  }
});

const TELEPHONE = { viewport: meeting.PHONE, hasTouch: true };

test('a finger sees the pin before it touches it', { timeout: 30_000 }, async () => {
  for (const [options, opacity] of /** @type {[meeting.ContextOptions, string][]} */ ([[TELEPHONE, '1'], [{}, '0']])) {
    const page = await meet({ ...options, reducedMotion: 'reduce' });
    // The mouse is elsewhere.
    await page.mouse.move(0, 0);
    const pin = tile(page, 'Carmen').getByTestId('pin');
    assert.equal(await pin.evaluate((node) => getComputedStyle(node).opacity), opacity);
    if (opacity === '1') await pin.tap();
    else await tile(page, 'Carmen').hover().then(() => pin.click());
    await shows(page, 'Carmen', { pinned: true });
    await meeting.closeAll(page);
  }
});

test('what is said in passing lies over no tile of a telephone, and what asks for something comes back', { timeout: 30_000 }, async () => {
  // Where it comes to rest.
  const page = await meet({ ...TELEPHONE, reducedMotion: 'reduce' });
  await let_(page, (pretend) => {
    pretend.lose('camera', 'device_denied');
    pretend.room.setLocked(true);
  });
  await isToasted(page, 'The room is locked');
  const box = async (/** @type {import('playwright-core').Locator} */ one) => {
    const found = await one.boundingBox();
    if (!found) throw new Error('it is not shown');
    return found;
  };
  const isClear = async (/** @type {string} */ text) => {
    const { y, height } = await box(page.getByTestId('toast').filter({ visible: true }));
    for (const one of await page.getByTestId('tile').all()) assert.ok(y + height <= (await box(one)).y, text);
  };
  await isClear('news');
  await page.getByTestId('toast').filter({ visible: true }).getByRole('button', { name: 'Dismiss' }).tap();
  await isToasted(page, 'The camera is not allowed.');
  await isClear('a problem');
  await meeting.closeAll(page);
});

test('the list of people says in words who is heard and seen', { timeout: 30_000 }, async () => {
  const page = await meet();
  await meeting.openPanel(page, 'people');
  const carmen = page.getByRole('listitem').filter({ hasText: 'Carmen' });
  await carmen.getByRole('img', { name: 'Microphone off', exact: true }).waitFor();
  await carmen.getByRole('img', { name: 'Camera on', exact: true }).waitFor();
  await let_(page, (pretend) => pretend.mute('Carmen', 'microphone', false));
  await carmen.getByRole('img', { name: 'Microphone on', exact: true }).waitFor();
  await meeting.closeAll(page);
});

test('the badge says why it is WebSocket', { timeout: 30_000 }, async () => {
  const page = await meet(TELEPHONE);
  const badge = page.getByTestId('badge');
  for (const [reason, words] of [['udp_blocked', 'UDP is blocked'], ['no_webtransport', 'no WebTransport here'], ['browser', 'better in this browser'], ['chosen', 'the link asks for it']]) {
    await page.evaluate((reason) => /** @type {any} */ (window).pretend.run('websocket', reason), reason);
    assert.match((await badge.textContent()) ?? '', new RegExp(`^WebSocket · ${words} · \\d+ ms`));
    const { x = 0, width = Infinity } = (await badge.boundingBox()) ?? {};
    assert.ok(x + width <= meeting.PHONE.width, words);
  }
  await meeting.closeAll(page);
});

test('what is said while the chat is closed is counted, in each meeting anew', { timeout: 30_000 }, async () => {
  const page = await meet();
  const chat = (/** @type {string} */ name) => page.getByRole('button', { name, exact: true }).waitFor();
  for (const round of ['first', 'second']) {
    await chat('Chat');
    await let_(page, (pretend) => { for (const text of ['Good morning!', 'Is everyone here?']) pretend.say('Bo', text); });
    await chat('Chat, 2 unread');
    await meeting.openPanel(page, 'chat');
    await chat('Chat');
    await let_(page, (pretend) => pretend.say('Bo', 'You are.'));
    await meeting.closePanel(page);
    await let_(page, (pretend) => pretend.say('Bo', 'Are you?'));
    await chat('Chat, 1 unread');
    if (round === 'first') await comeBack(page);
  }
  await meeting.closeAll(page);
});

/** Leaves, and goes in again without loading the page anew. @param {Page} page */
async function comeBack(page) {
  await page.evaluate(() => {
    history.pushState(null, '', '/r/calm-amber-harbor');
    history.back();
  });
  await meeting.enterWithDevices(page, 'Ana Lucía');
  await let_(page, (pretend) => pretend.join('Bo'));
}
