/**
 * What this tab remembers: the token that it was given, and its seat while the page is away.
 *
 * The seat is written when the page goes out of sight and taken away when it is looked at. So a reload finds it, and a
 * duplicate of the tab does not: the ticket in it is good for one page at a time.
 */

/**
 * @typedef {object} Seat
 * @property {string} room
 * @property {string} name
 * @property {string} ticket
 * @property {number} untilMs since 1970
 * @property {{ microphone: boolean, camera: boolean }} on what one was sending
 */

const TOKEN = 'tertulia.token';
const SEAT = 'tertulia.seat';

/**
 * Asks whoever opened this tab for a token, and takes the one in its answer, `{ token }`. Addresses are kept in histories and sent
 * on, so no token is in one.
 * @param {(token: string) => void} take
 */
export function askOpener(take) {
  const opener = /** @type {Window | null} */ (window.opener);
  if (!opener) return;
  addEventListener('message', ({ source, data }) => {
    if (source !== opener || typeof data?.token !== 'string') return;
    rememberToken(data.token);
    take(data.token);
  });
  // It says nothing that not everyone may know.
  opener.postMessage(TOKEN, '*');
}

/** @returns {string | null} */
export function rememberedToken() {
  return storage((store) => store.getItem(TOKEN));
}

/** @param {string} token */
export function rememberToken(token) {
  storage((store) => store.setItem(TOKEN, token));
}

export function forgetToken() {
  storage((store) => store.removeItem(TOKEN));
}

/** The seat of the page before this one, if the relay still has it. @param {string} room @returns {Seat | null} */
export function takeSeat(room) {
  const text = storage((store) => store.getItem(SEAT));
  forgetSeat();
  const seat = /** @type {Seat | null} */ (parse(text));
  return seat && seat.room === room && seat.untilMs > Date.now() ? seat : null;
}

/** Keeps the seat while the page is away. @param {() => Seat | null} current */
export function keepSeat(current) {
  const keep = () => {
    const seat = current();
    if (seat) storage((store) => store.setItem(SEAT, JSON.stringify(seat)));
  };
  addEventListener('pagehide', keep);
  addEventListener('pageshow', forgetSeat);
  document.addEventListener('visibilitychange', () => (document.hidden ? keep() : forgetSeat()));
}

function forgetSeat() {
  storage((store) => store.removeItem(SEAT));
}

/** @param {string | null} text @returns {unknown} */
function parse(text) {
  try {
    return JSON.parse(text ?? 'null');
  } catch {
    return null;
  }
}

/** Storage may be forbidden or full: then nothing is remembered. @template T @param {(store: Storage) => T} act @returns {T | null} */
function storage(act) {
  try {
    return act(sessionStorage);
  } catch {
    return null;
  }
}
