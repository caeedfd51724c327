/** What ends a try to reach the relay that would hang: a network that swallows everything does not say so. */
import { TertuliaError } from './error.js';

/** The relay has to be found and a carrier has to stand within this time, in milliseconds. As for the native client. */
export const REACH_TIMEOUT_MS = 5000;

const NETWORK_BACK = 'network_back';

/**
 * Aborts with `signal`, when the time is over, or when the network is back: what began without it hangs.
 * @param {AbortSignal | undefined} signal
 * @param {number} [ms]
 * @returns {AbortSignal}
 */
export function deadline(signal, ms = REACH_TIMEOUT_MS) {
  const aborter = new AbortController();
  /** @param {TertuliaError} reason */
  const end = (reason) => {
    clearTimeout(timeout);
    globalThis.removeEventListener?.('online', back);
    aborter.abort(reason);
  };
  const back = () => end(new TertuliaError(NETWORK_BACK, 'The network is back. Join again.'));
  const timeout = setTimeout(() => end(unreachable()), ms);
  // A worker has no page; Node has neither.
  globalThis.addEventListener?.('online', back);
  return signal ? AbortSignal.any([signal, aborter.signal]) : aborter.signal;
}

/** Whether trying at once may help. @param {unknown} error */
export function isNetworkBack(error) {
  return error instanceof TertuliaError && error.code === NETWORK_BACK;
}

/** @param {unknown} [cause] */
export function unreachable(cause) {
  return new TertuliaError('relay_unreachable', 'The relay cannot be reached. Check the network and that the relay runs, and join again.', { cause });
}
