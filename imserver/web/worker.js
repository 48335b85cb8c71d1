/* The service worker: keeps the whole client, and serves it while the network is away. It never keeps
 * what the API says. When the server offers no worker any more, it takes itself off. */
const BASE = '{{base}}';
const CACHE = 'imserver-{{version}}';
const FILES = JSON.parse('{{files}}');
const PAGE = `${BASE}/`;

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([PAGE, ...FILES])));
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (name.startsWith('imserver-') && name !== CACHE) await caches.delete(name);
      }
      await self.clients.claim();
    })(),
  );
});

self.addEventListener('message', (event) => {
  if (event.data === 'take over') self.skipWaiting();
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== self.location.origin) return;
  if (url.pathname.startsWith(`${BASE}/app/`)) event.respondWith(file(request));
  else if (request.mode === 'navigate' && isPage(url.pathname)) event.respondWith(page(request));
});

self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  const path = event.notification.data?.path ?? PAGE;
  event.waitUntil(
    (async () => {
      const [client] = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
      if (!client) return void (await self.clients.openWindow(path));
      await client.focus();
      client.postMessage({ open: path });
    })(),
  );
});

function isPage(path) {
  return path === PAGE || path.startsWith(`${BASE}/c/`);
}

async function file(request) {
  const kept = await caches.match(request, { ignoreVary: true });
  return kept ?? fetch(request);
}

async function page(request) {
  try {
    const answer = await fetch(request);
    // The server is there, and has no page: the client was turned off.
    if (answer.status === 404) await self.registration.unregister();
    if (answer.status < 500) return answer;
  } catch {
    // The network is away.
  }
  return (await caches.match(PAGE, { cacheName: CACHE, ignoreVary: true })) ?? Response.error();
}
