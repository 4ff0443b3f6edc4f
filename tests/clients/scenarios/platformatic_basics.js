// @platformatic/kafka, the newest of the clients for Node: topics, settings, an idempotent producer with
// each codec, a group, offsets, deletions.
//
// usage: node platformatic_basics.js BROKER TOPIC
const { Admin, Consumer, Producer, ProduceAcks, stringSerializers, stringDeserializers } = require('@platformatic/kafka')
const assert = require('node:assert')
const { tls, sasl } = require('./connecting')

// Without zstd, which Node 20 has not.
const CODECS = ['none', 'gzip', 'snappy', 'lz4']
const RECORDS = 400
const DEADLINE_MS = 60_000

async function main() {
  const [broker, topic] = process.argv.slice(2)
  const options = { clientId: 'scenario', bootstrapBrokers: [broker], tls, sasl }
  const admin = new Admin(options)
  const [created] = await admin.createTopics({ topics: [topic], partitions: 4, replicas: 1, configs: [{ name: 'retention.ms', value: '86400000' }] })
  assert.equal(created.partitions, 4)
  await assert.rejects(admin.createTopics({ topics: [topic], partitions: 4, replicas: 1 }))
  await produce(options, topic)
  await consume(options, topic)
  const groups = await admin.listGroups()
  assert(groups.has(`${topic}-group`))
  await admin.deleteGroups({ groups: [`${topic}-group`] })
  await admin.deleteTopics({ topics: [topic] })
  await admin.close()
  console.log(`${RECORDS} records in ${CODECS.length} codecs out and in again`)
}

async function produce(options, topic) {
  for (const compression of CODECS) {
    const producer = new Producer({ ...options, serializers: stringSerializers, idempotent: true, compression, acks: ProduceAcks.ALL })
    const messages = Array.from({ length: RECORDS / CODECS.length }, (_, n) => ({
      topic, key: `k${n % 7}`, value: `${compression}-${n}`, headers: { codec: compression },
    }))
    const { offsets } = await producer.send({ messages })
    assert(offsets.every(({ offset }) => offset >= 0n))
    await producer.close()
  }
}

async function consume(options, topic) {
  const consumer = new Consumer({ ...options, groupId: `${topic}-group`, deserializers: stringDeserializers })
  const stream = await consumer.consume({ topics: [topic], mode: 'earliest', autocommit: false, sessionTimeout: 10_000, heartbeatInterval: 500 })
  const seen = new Set()
  const timer = setTimeout(() => { console.error(`${seen.size} of ${RECORDS} in time`); process.exit(1) }, DEADLINE_MS)
  for await (const message of stream) {
    assert.equal(message.headers.get('codec'), message.value.split('-')[0])
    seen.add(message.value)
    await message.commit()
    if (seen.size === RECORDS) break
  }
  clearTimeout(timer)
  const ends = await consumer.listOffsets({ topics: [topic] })
  assert.equal(ends.get(topic).reduce((sum, end) => sum + Number(end), 0), RECORDS)
  const committed = await consumer.listCommittedOffsets({ topics: [{ topic, partitions: [0, 1, 2, 3] }] })
  assert.equal(committed.get(topic).reduce((sum, at) => sum + Math.max(Number(at), 0), 0), RECORDS)
  await consumer.close(true)
}

main().catch((error) => { console.error(error); process.exit(1) })
