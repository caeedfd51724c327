// Pages with the pretended room.
import * as meeting from '../meeting.js';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('playwright-core').Browser} Browser */

/** Something happens in the room. @param {Page} page @param {(pretend: any) => void} act in the page */
export const let_ = (page, act) => page.evaluate(`(${act})(window.pretend)`);

/** @param {Browser} browser @param {string} url @param {meeting.ContextOptions & { script?: string }} [options] `script`: runs in the page before anything else */
export async function open(browser, url, { script = '', ...options } = {}) {
  const page = await (await browser.newContext({ viewport: meeting.DESKTOP, ...options })).newPage();
  meeting.watch(page);
  await page.addInitScript(script);
  await page.goto(url);
  return page;
}

/** Ana Lucía, in a meeting of three. @param {Browser} browser @param {string} url of the room @param {meeting.ContextOptions & { script?: string }} [options] */
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
