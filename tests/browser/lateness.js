// How late a machine is with what it was asked for. What goes wrong in a page while the machine held it up says nothing of what is tested.

/** How often one looks, in milliseconds. */
const LOOK_MS = 10;
/** Later than this, in milliseconds, and the machine holds things up: sounds are 20 ms long, and pictures come every 33. */
export const LATE_MS = 30;
/** How often at most something is done that the machine holds up each time. */
const TIMES_MAX = 5;

/** How late the timers of a page are: on its own thread, and on one that has nothing else to do. */
export class Lateness {
  #worker;
  #timer;
  /** @type {{ atMs: number, lateMs: number }[]} */
  #seen = [];

  /** Looks from now on. */
  constructor() {
    const source = `(${look})(${LOOK_MS}, (lateMs) => postMessage(lateMs))`;
    this.#worker = new Worker(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
    this.#worker.onmessage = ({ data }) => this.saw(data);
    this.#timer = look(LOOK_MS, (lateMs) => this.saw(lateMs));
  }

  /** @param {number} lateMs by so much something that is not a timer was late */
  saw(lateMs) {
    if (lateMs > LOOK_MS) this.#seen.push({ atMs: performance.now(), lateMs });
  }

  /** The latest of all, in milliseconds. @param {number} [sinceMs] of those that were seen since then */
  worstMs(sinceMs = -Infinity) {
    return this.#seen.reduce((worst, { atMs, lateMs }) => (atMs >= sinceMs ? Math.max(worst, lateMs) : worst), 0);
  }

  stop() {
    clearInterval(this.#timer);
    this.#worker.terminate();
  }
}

/** Tells how late each of its looks is, in milliseconds. Also the source of a worker: it knows nothing but its arguments. @param {number} lookMs @param {(lateMs: number) => void} tell */
function look(lookMs, tell) {
  let lastMs = performance.now();
  return setInterval(() => {
    const nowMs = performance.now();
    tell(nowMs - lastMs - lookMs);
    lastMs = nowMs;
  }, lookMs);
}

/**
 * Does something with a page that is served with the tests' files. Where it fails while the machine was late, it is done again with the page as it
 * was at first, a few times at most: what is wrong with the page itself is wrong each time, and fails at once on a machine that keeps its time.
 * @template Result
 * @param {import('node:test').TestContext} t
 * @param {import('playwright-core').Page} page
 * @param {() => Promise<Result>} act
 * @returns {Promise<Result>}
 */
export async function undisturbed(t, page, act) {
  for (let times = 1; ; times++) {
    await page.evaluate(`import('/tests/browser/lateness.js').then(({ Lateness }) => { globalThis.lateness = new Lateness(); })`);
    try {
      return await act();
    } catch (error) {
      const lateMs = Math.round(await page.evaluate('lateness.worstMs()').catch(() => 0));
      if (lateMs < LATE_MS || times === TIMES_MAX) throw error;
      t.diagnostic(`once more, the machine was ${lateMs} ms late: ${error instanceof Error ? error.message.split('\n')[0] : error}`);
    }
    await page.reload();
  }
}

/**
 * Judges times that the machine may have spoilt, where several browsers and processes are in it: one attempt that goes well is enough, and after
 * one that does not, two of three decide.
 * @param {(attempt: number) => Promise<string | null>} attempt says what took too long; `null`: nothing
 */
export async function twoOfThree(attempt) {
  const slow = /** @type {string[]} */ ([]);
  let well = 0;
  do {
    const said = await attempt(slow.length + well);
    if (said === null) well++;
    else slow.push(said);
    if (slow.length === 2) throw new Error(slow.join(', and again: '));
  } while (slow.length === 1 && well < 2);
}
