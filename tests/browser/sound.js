// A sound server that plays to nobody: Firefox runs no AudioContext without one.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const START_MS = 10_000;

/**
 * @typedef {object} SoundServer
 * @property {string} address for `PULSE_SERVER`
 * @property {() => Promise<void>} stop
 */

/**
 * Starts one of its own, which takes nothing from a session that the machine may have, and is as good for root.
 * @param {string} directory for its socket and state
 * @returns {Promise<SoundServer>}
 */
export async function startSoundServer(directory) {
  const socket = `${directory}/sound`;
  const child = spawn('pulseaudio', [
    '-n', '--daemonize=no', '--exit-idle-time=-1', '--disable-shm=yes', '--log-target=stderr', '--log-level=info',
    // It would end itself, or be made to wait, on a machine that is busy: then Firefox's camera and microphone stand still as well.
    '--no-cpu-limit=yes', '--realtime=no', '--high-priority=no',
    `--load=module-native-protocol-unix socket=${socket} auth-anonymous=1`, '--load=module-null-sink rate=48000',
  ], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env.PATH, LC_ALL: 'C', HOME: directory, XDG_RUNTIME_DIR: directory, PULSE_RUNTIME_PATH: directory },
  });
  const exit = once(child, 'exit');
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill);
  const timeout = setTimeout(kill, START_MS);
  const said = [];
  for await (const line of createInterface({ input: child.stderr })) {
    said.push(line);
    if (line.includes('Daemon startup complete')) break;
  }
  clearTimeout(timeout);
  assert.ok(child.exitCode === null && child.signalCode === null, `pulseaudio did not start:\n${said.join('\n')}`);
  child.stderr.resume();
  return {
    address: `unix:${socket}`,
    async stop() {
      child.kill('SIGTERM');
      await exit;
      process.off('exit', kill);
    },
  };
}
