// kafka-go: its Conn speaks versions that were fixed years ago and asks nobody. Metadata, produce, fetch
// and offsets by Conn; a Writer and a group's Reader beside it.
//
// usage: kafkago BROKER TOPIC
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"brooklet/scenarios/connecting"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/scram"
)

const (
	records  = 300
	deadline = 60 * time.Second
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Panic(err)
	}
	return value
}

func check(holds bool, what ...any) {
	if !holds {
		log.Panic(what...)
	}
}

func main() {
	broker, topic := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()

	var login sasl.Mechanism
	if user, password := connecting.User(); user != "" {
		login = must(scram.Mechanism(scram.SHA512, user, password))
	}
	dialer := &kafka.Dialer{TLS: connecting.TLS(), SASLMechanism: login}
	transport := &kafka.Transport{TLS: connecting.TLS(), SASL: login}

	plain := must(dialer.DialContext(ctx, "tcp", broker))
	check(plain.CreateTopics(kafka.TopicConfig{Topic: topic, NumPartitions: 2, ReplicationFactor: 1}) == nil, "create")
	check(len(must(plain.ReadPartitions(topic))) == 2, "partitions")
	must(plain.ApiVersions())
	check(must(plain.Controller()).Port != 0, "controller")

	conn := must(dialer.DialLeader(ctx, "tcp", broker, topic, 0))
	must(conn.WriteMessages(kafka.Message{Key: []byte("k"), Value: []byte("by conn")}))
	first, last, err := conn.ReadOffsets()
	check(err == nil && first == 0 && last == 1, first, last, err)
	must(conn.Seek(0, kafka.SeekAbsolute))
	check(string(must(conn.ReadMessage(1<<20)).Value) == "by conn", "read")
	check(must(conn.ReadOffset(time.Now().Add(-time.Hour))) == 0, "offset by time")
	check(conn.Close() == nil, "close")

	writer := &kafka.Writer{Addr: kafka.TCP(broker), Transport: transport, Topic: topic, Balancer: &kafka.Hash{},
		Compression: kafka.Zstd, RequiredAcks: kafka.RequireAll, BatchTimeout: 10 * time.Millisecond}
	var messages []kafka.Message
	for number := range records - 1 {
		messages = append(messages, kafka.Message{Key: fmt.Append(nil, number%5), Value: fmt.Append(nil, number)})
	}
	check(writer.WriteMessages(ctx, messages...) == nil, "write")
	check(writer.Close() == nil, "close")

	// Version 0 of the group's requests, and 1 of OffsetFetch.
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{broker}, Dialer: dialer, GroupID: topic + "-group", Topic: topic, MaxWait: 200 * time.Millisecond})
	for range records {
		message := must(reader.FetchMessage(ctx))
		check(reader.CommitMessages(ctx, message) == nil, "commit")
	}
	check(reader.Close() == nil, "leave")

	client := &kafka.Client{Addr: kafka.TCP(broker), Transport: transport}
	fetched := must(client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: topic + "-group", Topics: map[string][]int{topic: {0, 1}}}))
	sum := int64(0)
	for _, partition := range fetched.Topics[topic] {
		sum += partition.CommittedOffset
	}
	check(sum == records, "committed", sum)
	check(plain.DeleteTopics(topic) == nil, "delete")
	fmt.Println(records, "records by Conn, Writer and a group's Reader")
}
