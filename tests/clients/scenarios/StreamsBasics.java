// Kafka Streams, at least once: words are counted over a repartition topic into a compacted changelog, by
// two instances that share, and again after the state is gone, from the changelog alone.
//
// usage: java -cp KAFKA_JARS StreamsBasics.java PROPERTIES TOPIC (java_basics.sh does)
import java.io.FileReader;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.state.Stores;

class StreamsBasics {
    static final int LINES = 300;
    static final List<String> WORDS = List.of("jfk", "lga", "ewr", "jfk");
    static final long DEADLINE_MS = 120_000;

    static Properties connecting = new Properties();
    static String topic;

    static void check(boolean holds, Object what) {
        if (!holds) throw new AssertionError(String.valueOf(what));
    }

    static KafkaStreams counter(String instance) throws Exception {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(topic + "-lines")
                .flatMapValues(line -> List.of(line.split(" ")))
                .groupBy((key, word) -> word)
                .count(Materialized.as(Stores.inMemoryKeyValueStore("counts")))
                .toStream()
                .to(topic + "-counts", Produced.with(Serdes.String(), Serdes.Long()));
        Properties properties = new Properties();
        properties.put("application.id", topic + "-app");
        properties.putAll(connecting);
        properties.put("default.key.serde", Serdes.String().getClass());
        properties.put("default.value.serde", Serdes.String().getClass());
        properties.put("state.dir", java.nio.file.Files.createTempDirectory("streams-" + instance).toString());
        properties.put("commit.interval.ms", "100");
        properties.put("statestore.cache.max.bytes", "0");
        properties.put("num.standby.replicas", "0");
        KafkaStreams streams = new KafkaStreams(builder.build(), properties);
        streams.start();
        return streams;
    }

    static void send(int lines) {
        try (var producer = new KafkaProducer<>(connecting, new StringSerializer(), new StringSerializer())) {
            for (int line = 0; line < lines; line++)
                producer.send(new ProducerRecord<>(topic + "-lines", "k" + line % 10, String.join(" ", WORDS)));
        }
    }

    /** Waits until the newest count of each word is that of so many lines. */
    static void counted(int lines) {
        Properties properties = new Properties();
        properties.putAll(connecting);
        properties.put("group.id", topic + "-reader-" + lines);
        properties.put("auto.offset.reset", "earliest");
        Map<String, Long> newest = new TreeMap<>();
        Map<String, Long> expected = new TreeMap<>(Map.of("jfk", 2L * lines, "lga", (long) lines, "ewr", (long) lines));
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new LongDeserializer())) {
            consumer.subscribe(List.of(topic + "-counts"));
            long deadline = System.currentTimeMillis() + DEADLINE_MS;
            while (!newest.equals(expected) && System.currentTimeMillis() < deadline)
                for (var record : consumer.poll(Duration.ofMillis(200))) newest.put(record.key(), record.value());
        }
        check(newest.equals(expected), newest);
    }

    public static void main(String[] arguments) throws Exception {
        try (FileReader file = new FileReader(arguments[0])) {
            connecting.load(file);
        }
        topic = arguments[1];
        try (Admin admin = Admin.create(connecting)) {
            admin.createTopics(List.of(new NewTopic(topic + "-lines", 3, (short) 1), new NewTopic(topic + "-counts", 1, (short) 1))).all().get();
            KafkaStreams first = counter("first");
            send(LINES);
            counted(LINES);
            KafkaStreams second = counter("second");
            send(LINES);
            counted(2 * LINES);
            first.close(Duration.ofSeconds(20));
            second.close(Duration.ofSeconds(20));
            // Nothing is left but what is in the topics.
            KafkaStreams third = counter("third");
            send(LINES);
            counted(3 * LINES);
            third.close(Duration.ofSeconds(20));
            String changelog = topic + "-app-counts-changelog";
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, changelog);
            String policy = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("cleanup.policy").value();
            check(policy.equals("compact"), policy);
            List<String> made = admin.listTopics().names().get().stream().filter(name -> name.startsWith(topic)).toList();
            check(made.size() == 4, made);
            admin.deleteTopics(made).all().get();
        }
        System.out.println(3 * LINES + " lines counted by Streams, also from its changelog alone");
    }
}
