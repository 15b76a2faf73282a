// eureka-js-client against one server: EUREKA is its address, HOST:PORT. With STRICT=1 it writes what
// a real Spring Cloud server takes too.
'use strict';

const { Eureka } = require('eureka-js-client');

const NEVER = 60000; // milliseconds until "eventually" gives up
const [host, port] = process.env.EUREKA.split(':');
const silent = { debug() {}, info() {}, warn() {}, error: console.error, level() {} };
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
    },
    eureka: {
      host, port: Number(port), servicePath: '/eureka/v2/apps/', maxRetries: 3,
      heartbeatInterval: 500, registryFetchInterval: 200, ...more,
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

life(false).then(() => life(true)).then(() => process.exit(0), (why) => {
  console.error(why);
  process.exit(1);
});
