// What to do about devices that cannot be opened.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TertuliaError } from '../../web/sdk/error.js';
import { deviceError, deviceLost, getLocalDevices } from '../../web/sdk/media/send/devices.js';

for (const [name, source, code] of /** @type {[string, import('../../web/sdk/media/send/devices.js').TrackSource, string][]} */ ([
  ['NotAllowedError', 'camera', 'device_denied'],
  ['NotAllowedError', 'screen', 'screen_cancelled'],
  ['NotFoundError', 'microphone', 'device_missing'],
  ['OverconstrainedError', 'camera', 'device_missing'],
  ['NotReadableError', 'camera', 'device_busy'],
  ['AbortError', 'microphone', 'device_busy'],
  ['SecurityError', 'camera', 'insecure_page'],
  ['InvalidStateError', 'screen', 'gesture_needed'],
  ['TypeError', 'camera', 'device_failed'],
])) {
  test(`${name} of the ${source} is ${code}`, () => {
    const cause = new DOMException('said by the browser', name);
    const error = deviceError(cause, source);
    assert.equal(error.code, code);
    // What to do is a sentence of its own, and never the browser's.
    assert.match(error.message, /\w\. \w.*\.$|; if .*\.$|Open it over/);
    assert.doesNotMatch(error.message, /said by the browser/);
  });
}

test('an error that says what to do stays as it is', () => {
  const known = new TertuliaError('insecure_page', 'Open it over https://.');
  assert.equal(deviceError(known, 'camera'), known);
});

test('a lost device is named', () => {
  assert.equal(deviceLost('microphone').code, 'device_lost');
  assert.match(deviceLost('microphone').message, /microphone/);
});

test('without devices the page is not secure', async () => {
  await assert.rejects(getLocalDevices(), { code: 'insecure_page' });
});
