// eureka-js-client against the servers whose addresses, HOST:PORT, stand in EUREKA; of several the one
// that leads is killed. With STRICT=1 it writes what a real Spring Cloud server takes too.
'use strict';

const { execFileSync } = require('child_process');
const { Eureka } = require('eureka-js-client');

const NEVER = 60000; // milliseconds until "eventually" gives up
const LEASE = 10; // seconds
const servers = process.env.EUREKA.split(' ').map((own) => `http://${own}/eureka/v2/apps/`);
// That a server which was killed cannot be reached is no news.
const error = servers.length > 1 ? () => {} : console.error;
const silent = { debug() {}, info() {}, warn() {}, error, level() {} };
const strict = process.env.STRICT === '1';

function client(app, own, more) {
  return new Eureka({
    logger: silent,
    // As its manual shows it: a bare port, no instance id, a data center without a class.
    instance: {
      app, hostName: 'localhost', ipAddr: '127.0.0.1', vipAddress: `${app}.vip`,
      port: strict ? { $: own, '@enabled': true } : own,
      dataCenterInfo: strict
        ? { '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo', name: 'MyOwn' }
        : { name: 'MyOwn' },
      leaseInfo: { renewalIntervalInSecs: 1, durationInSecs: LEASE },
    },
    eureka: {
      serviceUrls: { default: [...servers] }, maxRetries: 3, heartbeatInterval: 500,
      registryFetchInterval: 200, ...more,
    },
  });
}

const start = (one) => new Promise((done, fail) => one.start((why) => (why ? fail(why) : done())));
const stop = (one) => new Promise((done, fail) => one.stop((why) => (why ? fail(why) : done())));

async function eventually(claim, ask) {
  const deadline = Date.now() + NEVER;
  while (Date.now() < deadline) {
    if (ask()) {
      console.log(`ok: ${claim}`);
      return;
    }
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`not so within ${NEVER} ms: ${claim}`);
}

async function life(useDelta) {
  const how = useDelta ? 'by deltas' : 'by wholes';
  const watcher = client('watcher', 9001, { shouldUseDelta: useDelta });
  await start(watcher);
  const other = client('other', 9002, { fetchRegistry: false });
  await start(other);
  const ports = () => watcher.getInstancesByAppId('OTHER').map((own) => own.port.$);
  await eventually(`it sees another come ${how}`, () => String(ports()) === '9002');
  await eventually(`it finds it by its virtual host ${how}`,
    () => watcher.getInstancesByVipAddress('other.vip').length === 1);
  let renewed = 0;
  other.on('heartbeat', () => { renewed += 1; });
  await eventually(`another renews ${how}`, () => renewed > 1);
  await stop(other);
  await eventually(`it sees another leave ${how}`, () => ports().length === 0);
  await stop(watcher);
}

async function holds(claim, seconds, ask) {
  const until = Date.now() + seconds * 1000;
  while (Date.now() < until) {
    if (!ask()) throw new Error(`no longer so: ${claim}`);
    await new Promise((done) => setTimeout(done, 50));
  }
  console.log(`ok: ${claim}`);
}

// The leader is killed between them: they go on renewing, and see others come and go.
async function bereaved() {
  const watcher = client('watcher', 9001, { shouldUseDelta: true });
  await start(watcher);
  const other = client('other', 9002, { fetchRegistry: false });
  await start(other);
  const n = (app) => watcher.getInstancesByAppId(app).length;
  await eventually('it sees another come', () => n('OTHER') === 1);
  execFileSync('bash', [`${process.env.CASES}/kill-leader.bash`], { stdio: 'inherit' });
  const newcomer = client('newcomer', 9003, { fetchRegistry: false });
  await start(newcomer);
  await eventually('it sees one come that came without the leader', () => n('NEWCOMER') === 1);
  await holds('none is lost that renews', 2 * LEASE, () => n('OTHER') === 1 && n('NEWCOMER') === 1);
  await stop(other);
  await eventually('it sees another leave', () => n('OTHER') === 0);
  await stop(newcomer);
  await eventually('it sees the newcomer leave', () => n('NEWCOMER') === 0);
  await stop(watcher);
}

const all = servers.length > 1 ? bereaved() : life(false).then(() => life(true));
all.then(() => process.exit(0), (why) => {
  console.error(why);
  process.exit(1);
});
