// Firefox sometimes stands still: then a test begins again, once, with another one.

/** What is said of a page that hangs. */
export class PageHangs extends Error {}

/**
 * Runs what a test does. Firefox stands still or draws late on a busy machine: if something goes wrong, it is started anew and all is done
 * once more, and the test's output says so, and whether Firefox stood still. What goes wrong twice fails the test.
 * @param {import('node:test').TestContext} t
 * @param {() => Promise<void>} act
 * @param {() => Promise<boolean>} isStuck whether Firefox stands still
 * @param {() => Promise<void>} startAnew
 */
export async function insist(t, act, isStuck, startAnew) {
  try {
    await act();
  } catch (error) {
    const isStill = error instanceof PageHangs || (await isStuck());
    t.diagnostic(`once more, Firefox ${isStill ? 'stands still' : 'goes on'}: ${error instanceof Error ? error.message : error}`);
    await startAnew();
    await act();
  }
}
