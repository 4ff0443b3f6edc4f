// The Java client: a topic with settings, every codec, transactions refused by name, a group that
// gains a member and shares cooperatively, offsets by time, and what administrators do.
//
// usage: java -cp KAFKA_JARS JavaBasics.java PROPERTIES TOPIC (java_basics.sh does)
import java.io.FileReader;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

class JavaBasics {
    static final int RECORDS = 500;
    static final Duration POLL = Duration.ofMillis(200);
    static final long DEADLINE_MS = 60_000;

    static Properties connecting = new Properties();
    static String topic;
    static int checks = 0;

    static void check(boolean holds, Object what) {
        if (!holds) throw new AssertionError(String.valueOf(what));
        checks++;
    }

    /** The error that a call of an administrator ends with. */
    static Throwable refused(KafkaFuture<?> future) throws Exception {
        try {
            future.get();
        } catch (ExecutionException error) {
            return error.getCause();
        }
        throw new AssertionError("not refused");
    }

    static Properties properties(Object... pairs) {
        Properties properties = new Properties();
        properties.putAll(connecting);
        for (int at = 0; at < pairs.length; at += 2) properties.put(pairs[at], pairs[at + 1]);
        return properties;
    }

    public static void main(String[] arguments) throws Exception {
        try (FileReader file = new FileReader(arguments[0])) {
            connecting.load(file);
        }
        topic = arguments[1];
        try (Admin admin = Admin.create(properties())) {
            topics(admin);
            produce();
            times(admin);
            groups(admin);
            positions(admin);
            rest(admin);
        }
        System.out.println(checks + " things checked with Java");
    }

    static void topics(Admin admin) throws Exception {
        NewTopic wanted = new NewTopic(topic, Optional.of(4), Optional.empty());
        wanted.configs(Map.of("retention.ms", "86400000", "cleanup.policy", "delete"));
        CreateTopicsResult created = admin.createTopics(List.of(wanted));
        check(created.numPartitions(topic).get() == 4, "partitions");
        check(created.config(topic).get().get("retention.ms").value().equals("86400000"), "config");
        check(refused(admin.createTopics(List.of(wanted)).all()) instanceof TopicExistsException, "twice");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry("segment.bytes", "2097152"), AlterConfigOp.OpType.SET);
        AlterConfigOp add = new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(set, add))).all().get();
        Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        check(config.get("segment.bytes").value().equals("2097152"), config);
        check(config.get("segment.bytes").source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config);
        check(config.get("flush.ms").isDefault(), config);
        check(config.get("cleanup.policy").value().equals("delete,compact"), config);
        AlterConfigOp take = new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.SUBTRACT);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(take))).all().get();
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(6))).all().get();
        check(refused(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all())
                instanceof InvalidPartitionsException, "fewer");
        TopicDescription described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        check(described.partitions().size() == 6 && !described.topicId().equals(Uuid.ZERO_UUID), described);
        check(admin.listTopics().names().get().contains(topic), "listed");
    }

    static KafkaProducer<String, String> producer(Object... pairs) {
        return new KafkaProducer<>(properties(pairs), new StringSerializer(), new StringSerializer());
    }

    static void produce() throws Exception {
        String[] codecs = {"none", "gzip", "snappy", "lz4", "zstd"};
        for (String codec : codecs) {
            try (KafkaProducer<String, String> producer = producer("compression.type", codec)) {
                List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
                for (int number = 0; number < RECORDS / codecs.length; number++) {
                    ProducerRecord<String, String> record = new ProducerRecord<>(topic, "k" + number % 9, codec + number);
                    record.headers().add("codec", codec.getBytes()).add("codec", new byte[0]);
                    sent.add(producer.send(record));
                }
                for (var one : sent) check(one.get().offset() >= 0, codec);
                check(producer.partitionsFor(topic).size() == 6, codec);
            }
        }
        try (KafkaProducer<String, String> producer = producer("max.request.size", 3_000_000)) {
            String large = "x".repeat(2_000_000);
            try {
                producer.send(new ProducerRecord<>(topic, large)).get();
                check(false, "2 MB taken");
            } catch (ExecutionException error) {
                check(error.getCause() instanceof RecordTooLargeException, error.getCause());
            }
            try {
                long late = System.currentTimeMillis() + 7_200_000;
                producer.send(new ProducerRecord<>(topic, 0, late, "k", "v")).get();
                check(false, "two hours early");
            } catch (ExecutionException error) {
                check(error.getCause() instanceof InvalidTimestampException, error.getCause());
            }
            // The producer goes on after both.
            check(producer.send(new ProducerRecord<>(topic + "-made", 0, "made", "by asking")).get().partition() == 0, "made");
        }
    }

    static void times(Admin admin) throws Exception {
        TopicPartition made = new TopicPartition(topic + "-made", 0);
        try (KafkaProducer<String, String> producer = producer()) {
            // Offset 0 is of now; these are of the minutes that come.
            long now = System.currentTimeMillis();
            for (int minute = 1; minute <= 5; minute++)
                producer.send(new ProducerRecord<>(made.topic(), 0, now + minute * 60_000L, "k", "minute " + minute)).get();
            var found = admin.listOffsets(Map.of(made, OffsetSpec.forTimestamp(now + 150_000L))).all().get().get(made);
            check(found.offset() == 3 && found.timestamp() == now + 180_000L && found.leaderEpoch().isPresent(), found);
            var none = admin.listOffsets(Map.of(made, OffsetSpec.forTimestamp(now + 600_000L))).all().get().get(made);
            check(none.offset() == -1, none);
            check(admin.listOffsets(Map.of(made, OffsetSpec.maxTimestamp())).all().get().get(made).offset() == 5, "newest");
        }
        long low = admin.deleteRecords(Map.of(made, RecordsToDelete.beforeOffset(2))).lowWatermarks().get(made).get().lowWatermark();
        check(low == 2, low);
        check(admin.listOffsets(Map.of(made, OffsetSpec.earliest())).all().get().get(made).offset() == 2, "earliest");
        // A consumer whose offset is gone starts where it is told to.
        try (KafkaConsumer<String, String> consumer = consumer("auto.offset.reset", "earliest")) {
            consumer.assign(List.of(made));
            consumer.seek(made, 0);
            check(poll(consumer, 4).get(0).offset() == 2, "reset");
        }
    }

    static KafkaConsumer<String, String> consumer(Object... pairs) {
        Properties properties = properties(pairs);
        properties.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    static List<ConsumerRecord<String, String>> poll(KafkaConsumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> found = new ArrayList<>();
        long deadline = System.currentTimeMillis() + DEADLINE_MS;
        while (found.size() < count && System.currentTimeMillis() < deadline)
            for (ConsumerRecord<String, String> record : consumer.poll(POLL)) found.add(record);
        check(found.size() == count, found.size() + " of " + count);
        return found;
    }

    static KafkaConsumer<String, String> member(String group, String assignor) {
        return consumer("group.id", group, "auto.offset.reset", "earliest", "partition.assignment.strategy", assignor);
    }

    static void groups(Admin admin) throws Exception {
        String cooperative = CooperativeStickyAssignor.class.getName();
        String group = topic + "-group";
        try (KafkaConsumer<String, String> first = member(group, cooperative);
                KafkaConsumer<String, String> second = member(group, cooperative)) {
            first.subscribe(List.of(topic));
            List<ConsumerRecord<String, String>> found = poll(first, RECORDS);
            check(found.get(0).headers().toArray().length == 2, "headers");
            first.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(7, Optional.of(0), "note")));
            first.commitSync();
            second.subscribe(List.of(topic));
            long deadline = System.currentTimeMillis() + DEADLINE_MS;
            while ((first.assignment().size() != 3 || second.assignment().size() != 3) && System.currentTimeMillis() < deadline) {
                check(first.poll(POLL).isEmpty() && second.poll(POLL).isEmpty(), "read twice");
            }
            check(first.assignment().size() == 3 && second.assignment().size() == 3, first.assignment());
            ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            check(described.members().size() == 2 && described.partitionAssignor().equals("cooperative-sticky"), described);
            check(described.groupState() == GroupState.STABLE && described.type() == GroupType.CLASSIC, described);
            check(refused(admin.deleteConsumerGroups(List.of(group)).all()) instanceof GroupNotEmptyException, "not empty");
            check(refused(admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(topic, 0))).all())
                    instanceof GroupSubscribedToTopicException, "subscribed");
        }
        try (KafkaConsumer<String, String> fixed = consumer("group.id", group, "group.instance.id", "one")) {
            fixed.subscribe(List.of(topic));
            check(fixed.poll(Duration.ofSeconds(5)).isEmpty() && fixed.assignment().size() == 6, fixed.assignment());
            admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(
                    List.of(new MemberToRemove("one")))).all().get();
        }
    }

    static void positions(Admin admin) throws Exception {
        String group = topic + "-group";
        TopicPartition first = new TopicPartition(topic, 0), second = new TopicPartition(topic, 1);
        var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        check(offsets.size() == 6, offsets);
        admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(3, "moved"))).all().get();
        offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        check(offsets.get(first).offset() == 3 && offsets.get(first).metadata().equals("moved"), offsets);
        admin.deleteConsumerGroupOffsets(group, Set.of(second)).all().get();
        offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        check(offsets.get(second) == null && offsets.size() == 5, offsets);
        check(admin.listGroups().all().get().stream().anyMatch(one -> one.groupId().equals(group)), "listed");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        check(refused(admin.describeConsumerGroups(List.of(group)).all()) instanceof GroupIdNotFoundException, "deleted");
    }

    static void rest(Admin admin) throws Exception {
        TopicPartition first = new TopicPartition(topic, 0);
        check(admin.describeCluster().nodes().get().size() == 1 && !admin.describeCluster().clusterId().get().isEmpty(), "cluster");
        check(!admin.describeProducers(List.of(first)).partitionResult(first).get().activeProducers().isEmpty(), "producers");
        var folders = admin.describeLogDirs(List.of(admin.describeCluster().controller().get().id())).allDescriptions().get();
        var replicas = folders.values().iterator().next().values().iterator().next().replicaInfos();
        check(replicas.get(first).size() > 0, replicas);
        check(admin.describeFeatures().featureMetadata().get().finalizedFeatures().containsKey("metadata.version"), "features");
        admin.deleteTopics(List.of(topic, topic + "-made")).all().get();
        check(refused(admin.describeTopics(List.of(topic)).allTopicNames()) instanceof UnknownTopicOrPartitionException, "gone");
    }
}
