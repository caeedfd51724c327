// Firefox sometimes stops answering: then a test begins again, once, with another one.

/** What is said of a page that hangs. */
export class PageHangs extends Error {}

/**
 * Runs what a test does. Where a page of Firefox hangs, which happens on a busy machine in one of some dozens of runs and leaves its whole
 * process without an answer, Firefox is started anew and all of it is done once more; everything else that goes wrong fails the test.
 * @param {import('node:test').TestContext} t
 * @param {() => Promise<void>} act
 * @param {() => Promise<void>} startAnew
 */
export async function insist(t, act, startAnew) {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof PageHangs)) throw error;
    t.diagnostic(`once more: ${error.message}`);
    await startAnew();
    await act();
  }
}
