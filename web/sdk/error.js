/**
 * What went wrong, for programs and for people.
 *
 * `code` is stable: the label of a close or refuse reason of the protocol, or one of the SDK's own
 * (`relay_unreachable`, `origin_refused`, `transport_unavailable`, `not_connected`, `wire_malformed`, ...). `message` says what to do.
 */
export class TertuliaError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.name = 'TertuliaError';
    /** @readonly */
    this.code = code;
  }
}
