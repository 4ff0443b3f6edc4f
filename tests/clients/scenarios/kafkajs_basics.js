// kafkajs: create a topic, produce by key, read by a group, look at offsets, delete the topic.
//
// usage: node kafkajs_basics.js BROKER TOPIC
const { Kafka, CompressionTypes, logLevel } = require('kafkajs')
const { tls, sasl } = require('./connecting')

const RECORDS = 500
const DEADLINE_MS = 60_000

async function main() {
  const [broker, topic] = process.argv.slice(2)
  const kafka = new Kafka({ brokers: [broker], ssl: tls, sasl, clientId: 'scenario', logLevel: logLevel.ERROR })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: 4 }], waitForLeaders: true })
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const messages = Array.from({ length: RECORDS }, (_, n) => ({ key: `k${n % 7}`, value: `v${n}`, headers: { n: `${n}` } }))
  await producer.send({ topic, messages, compression: CompressionTypes.GZIP })
  await producer.disconnect()
  const offsets = await admin.fetchTopicOffsets(topic)
  const stored = offsets.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0)
  if (stored !== RECORDS) throw new Error(`${stored} records stored`)

  const consumer = kafka.consumer({ groupId: `${topic}-group` })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const seen = new Set()
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${seen.size} of ${RECORDS} in time`)), DEADLINE_MS)
    consumer.run({
      eachMessage: async ({ message }) => {
        seen.add(message.value.toString())
        if (seen.size === RECORDS) { clearTimeout(timer); resolve() }
      },
    })
  })
  await consumer.disconnect()
  // Back to the start: kafkajs commits a negative offset, which says that nothing is committed.
  await admin.resetOffsets({ groupId: `${topic}-group`, topic, earliest: true })
  const reset = await admin.fetchOffsets({ groupId: `${topic}-group`, topics: [topic], resolveOffsets: true })
  if (reset[0].partitions.some(({ offset }) => Number(offset) > 0)) throw new Error(`reset to ${JSON.stringify(reset)}`)
  await admin.setOffsets({ groupId: `${topic}-group`, topic, partitions: [{ partition: 0, offset: '1' }] })
  const moved = await admin.fetchOffsets({ groupId: `${topic}-group`, topics: [topic] })
  if (moved[0].partitions.find(({ partition }) => partition === 0).offset !== '1') throw new Error('not moved')
  const described = await admin.describeGroups([`${topic}-group`])
  await admin.deleteGroups([`${topic}-group`])
  await admin.deleteTopics({ topics: [topic] })
  await admin.disconnect()
  console.log(`${RECORDS} records out and in again, the group was ${described.groups[0].state} at the end`)
}

main().catch((error) => { console.error(error); process.exit(1) })
