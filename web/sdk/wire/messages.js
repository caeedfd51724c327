/** The messages of the control and chat streams, variants in the order of `src/wire/control.rs` and `src/wire/chat.rs`. */
import { bool, byteArray, byteList, decode, encode, label, list, option, string, struct, u16, u32, u64, u8, variant } from './codec.js';
import { closeReason, dropReason, refuseReason } from './reasons.js';

/** The protocol version. */
export const VERSION = 1;

const id16 = byteArray(16);
const chatPosition = struct({ epoch: u64, sequence: u64 });
const rational = struct({ numerator: u32, denominator: u32 });

const trackSource = label(/** @type {const} */ (['microphone', 'camera', 'screen', 'screenAudio', 'other']));

const trackInfo = struct({
  source: trackSource,
  codec: string,
  media: variant({
    audio: { sampleRate: u32, channels: u8 },
    video: { width: u16, height: u16, frameRate: rational, temporalLayers: u8, spatialLayers: u8 },
  }),
  description: byteList,
});

const publishedTrack = struct({ track: u32, info: trackInfo, muted: bool });

const trackReport = struct({ track: u32, received: u32, lost: u32, jitterMs: u16, delayMs: u16 });

const measurements = struct({
  roundTripUs: u32, bandwidthBps: u64, sent: u64, packetsSent: u64, packetsLost: u64, received: u64, missing: u64, jitterMs: u16,
  leftOut: list(struct({ reason: dropReason, datagrams: u64 })),
});

const permissions = struct({ publish: list(trackSource), subscribe: bool, chat: bool, admin: bool, hidden: bool });

const clientMessage = variant({
  join: {
    version: u16, room: string, name: string, token: option(string), ticket: option(byteList),
    chatAfter: option(chatPosition), autoSubscribe: bool,
  },
  publish: { request: u32, track: trackInfo },
  unpublish: { request: u32, track: u32 },
  setMuted: { request: u32, track: u32, muted: bool },
  subscribe: { request: u32, track: u32 },
  unsubscribe: { request: u32, track: u32 },
  setAutoSubscribe: { request: u32, enabled: bool },
  requestKeyframe: { track: u32, spatialLayer: u8 },
  ping: { token: u64 },
  leave: {},
  removeParticipant: { request: u32, participant: u32 },
  muteTrack: { request: u32, track: u32 },
  setLocked: { request: u32, locked: bool },
  endMeeting: { request: u32 },
  setLayers: { request: u32, track: u32, spatialLayer: u8, temporalLayer: u8 },
  report: { tracks: list(trackReport) },
  measurementsWanted: { request: u32 },
  setPinned: { request: u32, track: u32, pinned: bool },
});

const serverMessage = variant({
  welcome: {
    participant: u32, ticket: byteList, seatMs: u32, resumed: bool, tracks: list(publishedTrack), participants: u32,
    chat: chatPosition, locked: bool, name: string, permissions, mediaBytesMax: u16, chatBytesMax: u32, relay: string,
  },
  participantJoined: {
    participant: u32, name: string, identity: option(string), metadata: string,
    kind: label(/** @type {const} */ (['meeting', 'plain'])), tracks: list(publishedTrack),
  },
  participantLeft: { participant: u32, reason: closeReason },
  trackPublished: { participant: u32, track: publishedTrack },
  trackUnpublished: { participant: u32, track: u32 },
  trackMuted: { track: u32, muted: bool },
  published: { request: u32, track: u32 },
  done: { request: u32 },
  failed: { request: u32, reason: refuseReason, message: string },
  keyframeRequested: { track: u32, spatialLayer: u8 },
  pong: { token: u64, relayTimeUs: u64 },
  closing: { reason: closeReason, message: string },
  roomLocked: { locked: bool },
  layersWanted: { track: u32, spatialLayers: u8, temporalLayer: u8 },
  feedback: { track: u32, reports: u16, best: trackReport, worst: trackReport },
  activeSpeakers: { participants: list(u32) },
  measurements: { request: u32, measurements },
  onStage: { participants: list(u32) },
});

const clientChat = variant({
  send: { messageId: id16, to: option(u32), body: string },
  typing: { active: bool },
});

const serverChat = variant({
  accepted: { messageId: id16, sequence: u64, sentAtMs: u64 },
  refused: { messageId: id16, reason: refuseReason, message: string },
  message: { sequence: u64, messageId: id16, sentAtMs: u64, from: u32, fromName: string, to: option(u32), body: string },
  caughtUp: { position: chatPosition, firstKept: u64 },
  typing: { participant: u32, active: bool },
  notKept: { messageId: id16, sentAtMs: u64 },
});

/** @typedef {import('./codec.js').ValueOf<typeof chatPosition>} ChatPosition */
/** @typedef {import('./codec.js').ValueOf<typeof trackInfo>} TrackInfo */
/** @typedef {import('./codec.js').ValueOf<typeof publishedTrack>} PublishedTrack */
/** @typedef {import('./codec.js').ValueOf<typeof trackReport>} TrackReport */
/** @typedef {import('./codec.js').ValueOf<typeof measurements>} Measurements */
/** @typedef {import('./codec.js').ValueOf<typeof clientMessage>} ClientMessage */
/** @typedef {import('./codec.js').ValueOf<typeof serverMessage>} ServerMessage */
/** @typedef {import('./codec.js').ValueOf<typeof clientChat>} ClientChat */
/** @typedef {import('./codec.js').ValueOf<typeof serverChat>} ServerChat */
/** @typedef {Extract<ClientMessage, { type: 'join' }>} Join */
/** @typedef {Extract<ServerMessage, { type: 'welcome' }>} Welcome */

/** @param {ClientMessage} message */
export const encodeClientMessage = (message) => encode(clientMessage, message);
/** @param {Uint8Array} bytes */
export const decodeClientMessage = (bytes) => decode(clientMessage, bytes);
/** @param {ServerMessage} message */
export const encodeServerMessage = (message) => encode(serverMessage, message);
/** @param {Uint8Array} bytes */
export const decodeServerMessage = (bytes) => decode(serverMessage, bytes);
/** @param {ClientChat} message */
export const encodeClientChat = (message) => encode(clientChat, message);
/** @param {Uint8Array} bytes */
export const decodeClientChat = (bytes) => decode(clientChat, bytes);
/** @param {ServerChat} message */
export const encodeServerChat = (message) => encode(serverChat, message);
/** @param {Uint8Array} bytes */
export const decodeServerChat = (bytes) => decode(serverChat, bytes);
