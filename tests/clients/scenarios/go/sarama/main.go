// sarama: versions of Kafka 1.1 to 4.0, which differ in what is spoken. An idempotent producer, a
// group, the offsets, and an administrator.
//
// usage: sarama BROKER TOPIC
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"brooklet/scenarios/connecting"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
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

// login is what sarama leaves to others: SCRAM's side of a conversation.
type login struct{ *scram.ClientConversation }

func (it *login) Begin(user, password, authorized string) error {
	client, err := scram.SHA512.NewClient(user, password, authorized)
	if err == nil {
		it.ClientConversation = client.NewConversation()
	}
	return err
}

func connect(config *sarama.Config) {
	config.Net.TLS.Config = connecting.TLS()
	config.Net.TLS.Enable = config.Net.TLS.Config != nil
	config.Net.SASL.User, config.Net.SASL.Password = connecting.User()
	config.Net.SASL.Enable = config.Net.SASL.User != ""
	config.Net.SASL.Mechanism = sarama.SASLTypeSCRAMSHA512
	config.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &login{} }
}

type reader struct {
	ready chan struct{}
	seen  chan string
}

func (it reader) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (it reader) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (it reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		it.seen <- string(message.Value)
		session.MarkMessage(message, "noted")
	}
	return nil
}

func main() {
	brokers, name := []string{os.Args[1]}, os.Args[2]
	for _, version := range []sarama.KafkaVersion{sarama.V1_1_0_0, sarama.V2_1_0_0, sarama.V3_6_0_0, sarama.V4_0_0_0} {
		session(brokers, fmt.Sprintf("%s-%s", name, version), version)
	}
	fmt.Println(records, "records for each of four versions")
}

func session(brokers []string, topic string, version sarama.KafkaVersion) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	config := sarama.NewConfig()
	connect(config)
	config.Version = version
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Compression = sarama.CompressionSnappy
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.InstanceId = ""

	admin := must(sarama.NewClusterAdmin(brokers, config))
	defer admin.Close()
	retention := "86400000"
	check(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1,
		ConfigEntries: map[string]*string{"retention.ms": &retention}}, false) == nil, "create")

	producer := must(sarama.NewSyncProducer(brokers, config))
	for number := range records {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic,
			Key: sarama.StringEncoder(fmt.Sprint("k", number%5)), Value: sarama.StringEncoder(fmt.Sprint("v", number))})
		check(err == nil, err)
	}
	check(producer.Close() == nil, "close")

	group := must(sarama.NewConsumerGroup(brokers, topic+"-group", config))
	read := reader{seen: make(chan string, records)}
	consuming, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- group.Consume(consuming, []string{topic}, read) }()
	seen := map[string]bool{}
	for len(seen) < records {
		select {
		case value := <-read.seen:
			seen[value] = true
		case <-ctx.Done():
			log.Panic("only ", len(seen))
		}
	}
	stop()
	check(<-done == nil, "consume")
	check(group.Close() == nil, "leave")

	offsets := must(admin.ListConsumerGroupOffsets(topic+"-group", map[string][]int32{topic: {0, 1, 2}}))
	sum := int64(0)
	for _, block := range offsets.Blocks[topic] {
		sum += block.Offset
		check(block.Metadata == "noted" || block.Offset <= 0, block.Metadata)
	}
	check(sum == records, "committed", sum)
	entries := must(admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}}))
	check(len(entries) == 1 && entries[0].Value == retention, entries)
	must(admin.DescribeConsumerGroups([]string{topic + "-group"}))
	check(admin.CreatePartitions(topic, 4, nil, false) == nil, "grow")
	check(admin.DeleteRecords(topic, map[int32]int64{0: 1}) == nil, "delete records")
	check(admin.DeleteConsumerGroup(topic+"-group") == nil, "delete group")
	check(admin.DeleteTopic(topic) == nil, "delete topic")
}
