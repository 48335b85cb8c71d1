/** The real server, as its users start it, on loopback. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TOP = fileURLToPath(new URL('../../..', import.meta.url));
const PYTHON = process.env.PYTHON ?? join(TOP, '.venv/bin/python');
const PATIENCE = 30_000;

export class Server {
  /** @param {string} folder @param {Record<string, string>} settings */
  constructor(folder, settings) {
    this.folder = folder;
    this.settings = settings;
    this.port = 0;
    this.output = '';
    /** @type {import('node:child_process').ChildProcess | null} */
    this.process = null;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async start() {
    const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('IMSERVER_'));
    const child = spawn(PYTHON, ['-m', 'imserver', '--port', String(this.port), '--data', 'data'], {
      cwd: this.folder,
      env: { ...Object.fromEntries(kept), PYTHONPATH: process.env.PYTHONPATH ?? TOP, ...this.settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.process = child;
    child.stderr.on('data', (data) => (this.output += data));
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not ready: ${this.output}`)), PATIENCE);
      let said = '';
      child.stdout.on('data', (data) => {
        said += data;
        this.output += data;
        const found = /ready on https?:\/\/[^ /]*:(\d+)/.exec(said);
        if (!found) return;
        clearTimeout(timer);
        this.port = Number(found[1]);
        resolve(null);
      });
      child.once('exit', (code) => {
        clearTimeout(timer);
        reject(new Error(`the server ended with ${code}: ${this.output}`));
      });
    });
  }

  /** @param {NodeJS.Signals} signal */
  async stop(signal = 'SIGTERM') {
    const child = this.process;
    this.process = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  async kill() {
    await this.stop('SIGKILL');
  }

  async dispose() {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A running server, in a folder of its own; `settings` are environment variables. */
export async function startServer(settings = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'imserver-web-'));
  const server = new Server(folder, { IMSERVER_LOG_LEVEL: 'warning', ...settings });
  await server.start();
  return server;
}

/** Wait until something holds. */
export async function until(holds, what = 'it', patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    const value = await holds();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
