// Pages with the pretended room.
import * as meeting from '../meeting.js';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('playwright-core').Browser} Browser */

/**
 * @typedef {object} Circumstances
 * @property {string} [script] runs in the page before anything else
 * @property {object} [relay] what it says of itself
 */
/** @typedef {meeting.ContextOptions & Circumstances} Looks */

/** Something happens in the room. @param {Page} page @param {(pretend: any) => void} act in the page */
export const let_ = (page, act) => page.evaluate(`(${act})(window.pretend)`);

/** @param {Browser} browser @param {string} url @param {Looks} [options] */
export async function open(browser, url, { script = '', relay, ...options } = {}) {
  const page = await (await browser.newContext({ viewport: meeting.DESKTOP, ...options })).newPage();
  meeting.watch(page);
  await page.addInitScript(script);
  if (relay) await page.route(/\/relay\.json/, (route) => route.fulfill({ json: relay }));
  await page.goto(url);
  return page;
}

/** Ana Lucía, in a meeting of three. @param {Browser} browser @param {string} url of the room @param {Looks} [options] */
export async function meet(browser, url, options) {
  const page = await open(browser, url, options);
  await meeting.enterWithDevices(page, 'Ana Lucía');
  await let_(page, (pretend) => {
    pretend.join('Bo');
    pretend.join('Carmen', { microphone: false });
    pretend.measure(170);
    pretend.speak('Bo');
  });
  return page;
}
