//! Rules and questions as tables, and as properties against the simplest model that could be right.

use proptest::prelude::*;

use super::*;

/// `allow User:ada READ topic literal flights from *`
fn rule(text: &str) -> Acl {
    let words: Vec<&str> = text.split(' ').collect();
    let [permission, principal, operation, resource, pattern, name, "from", host] = words[..]
    else {
        panic!("{text}");
    };
    Acl {
        resource: kind(resource),
        pattern: match pattern {
            "literal" => PatternType::Literal,
            "prefix" => PatternType::Prefixed,
            other => panic!("{other}"),
        },
        name: name.to_owned(),
        principal: principal.to_owned(),
        host: host.to_owned(),
        operation: operation_of(operation),
        permission: if permission == "deny" { Permission::Deny } else { Permission::Allow },
    }
}

fn kind(name: &str) -> ResourceType {
    *ResourceType::ALL.iter().find(|kind| kind.name() == name.to_uppercase()).expect(name)
}

fn operation_of(name: &str) -> Operation {
    *Operation::ALL.iter().find(|operation| operation.name() == name).expect(name)
}

fn authorizer(settings: AuthorizerSettings, rules: &[&str]) -> Authorizer {
    let rules: Vec<Acl> = rules.iter().map(|text| rule(text)).collect();
    Authorizer::new(settings, &rules)
}

fn settings(super_user: &str, allow_without_rules: bool) -> AuthorizerSettings {
    let super_users = [Principal::user(super_user)].into();
    AuthorizerSettings { super_users, allow_without_rules }
}

/// Asks `USER OPERATION KIND NAME from HOST`.
fn ask(authorizer: &Authorizer, question: &str) -> Verdict {
    let words: Vec<&str> = question.split(' ').collect();
    let [user, operation, resource, name, "from", host] = words[..] else { panic!("{question}") };
    let principal = Principal::user(user);
    let asker = Asker { principal: &principal, host };
    authorizer.authorize(asker, operation_of(operation), kind(resource), name)
}

#[track_caller]
fn check(rules: &[&str], questions: &[(&str, bool, &str)]) {
    let authorizer = authorizer(settings("root", false), rules);
    for (question, allowed, because) in questions {
        let verdict = ask(&authorizer, question);
        let reason = match &verdict.reason {
            Reason::Rule(found) => {
                let found = rules.iter().find(|text| rule(text) == **found);
                (*found.expect("a verdict names a rule that there is")).to_owned()
            }
            other @ (Reason::SuperUser | Reason::NoRuleApplies | Reason::NoRules) => {
                format!("{other:?}")
            }
        };
        assert_eq!((verdict.allowed, reason.as_str()), (*allowed, *because), "{question}");
    }
}

#[test]
fn a_name_a_prefix_and_everything() {
    const NAME: &str = "allow User:ada READ topic literal flights from *";
    const PREFIX: &str = "allow User:bob WRITE topic prefix fl from *";
    const ALL: &str = "allow User:eve DESCRIBE topic literal * from *";
    let rules = &[NAME, PREFIX, ALL];
    check(
        rules,
        &[
            ("ada READ topic flights from 10.0.0.1", true, NAME),
            ("ada READ topic flights2 from 10.0.0.1", false, "NoRuleApplies"),
            ("ada READ topic other from 10.0.0.1", false, "NoRuleApplies"),
            ("ada READ group flights from 10.0.0.1", false, "NoRules"),
            ("bob WRITE topic flights from 10.0.0.1", true, PREFIX),
            ("bob WRITE topic fl from 10.0.0.1", true, PREFIX),
            ("bob WRITE topic f from 10.0.0.1", false, "NoRuleApplies"),
            ("eve DESCRIBE topic anything from 10.0.0.1", true, ALL),
            ("eve READ topic anything from 10.0.0.1", false, "NoRuleApplies"),
            ("root DELETE topic flights from 10.0.0.1", true, "SuperUser"),
        ],
    );
}

#[test]
fn who_denies_wins_wherever_it_stands() {
    const ALLOW: &str = "allow User:* ALL topic literal * from *";
    const DENY: &str = "deny User:ada WRITE topic prefix secret from *";
    const DENY_HOST: &str = "deny User:* ALL topic literal open from 10.0.0.9";
    check(
        &[ALLOW, DENY, DENY_HOST],
        &[
            ("ada WRITE topic secrets from 10.0.0.1", false, DENY),
            ("bob WRITE topic secrets from 10.0.0.1", true, ALLOW),
            // What is denied implies nothing.
            ("ada DESCRIBE topic secrets from 10.0.0.1", true, ALLOW),
            ("bob READ topic open from 10.0.0.9", false, DENY_HOST),
            ("bob READ topic open from 10.0.0.1", true, ALLOW),
            ("root WRITE topic secrets from 10.0.0.9", true, "SuperUser"),
        ],
    );
}

#[test]
fn some_operations_imply_others() {
    let held = |operation: &str| format!("allow User:ada {operation} topic literal t from *");
    for (operation, wanted, implied) in [
        ("READ", "DESCRIBE", true),
        ("WRITE", "DESCRIBE", true),
        ("DELETE", "DESCRIBE", true),
        ("ALTER", "DESCRIBE", true),
        ("ALTER_CONFIGS", "DESCRIBE_CONFIGS", true),
        ("CREATE", "DESCRIBE", false),
        ("ALTER_CONFIGS", "DESCRIBE", false),
        ("DESCRIBE", "READ", false),
        ("ALTER", "ALTER_CONFIGS", false),
        ("ALL", "DELETE", true),
    ] {
        let authorizer = authorizer(AuthorizerSettings::default(), &[&held(operation)]);
        let verdict = ask(&authorizer, &format!("ada {wanted} topic t from ::1"));
        assert_eq!(verdict.allowed, implied, "{operation} {wanted}");
    }
}

#[test]
fn a_resource_without_rules_is_open_only_where_the_settings_say_so() {
    let rules = &["allow User:ada READ topic prefix a from *"];
    let open = authorizer(settings("root", true), rules);
    let closed = authorizer(settings("root", false), rules);
    for (question, when_open) in
        [("bob READ topic b from ::1", true), ("bob READ topic ab from ::1", false)]
    {
        assert_eq!(ask(&open, question).allowed, when_open, "{question}");
        assert!(!ask(&closed, question).allowed, "{question}");
    }
}

#[test]
fn a_prefix_may_end_in_the_middle_of_nothing() {
    // Two bytes a letter: lengths that fall into one are no prefixes.
    const ODD: &str = "allow User:ada READ group prefix x from *";
    const LETTER: &str = "allow User:ada READ group prefix éé from *";
    check(
        &[ODD, LETTER],
        &[
            ("ada READ group ééé from ::1", true, LETTER),
            ("ada READ group é from ::1", false, "NoRules"),
        ],
    );
}

/// Kafka's own table (`AuthorizerInterfaceDefaultTest`, `AuthorizerTest`): is there any topic one may write to?
#[test]
fn any_resource_at_all() {
    let table: &[(&[&str], bool)] = &[
        (&[], false),
        (&["allow User:ada WRITE topic literal t from *"], true),
        (&["allow User:ada READ topic literal t from *"], false),
        (&["allow User:ada ALL topic prefix t from *"], true),
        (&["allow User:* WRITE topic literal * from *"], true),
        (&["allow User:ada WRITE topic literal t from 10.0.0.9"], false),
        (
            &[
                "allow User:* WRITE topic literal * from *",
                "deny User:* WRITE topic literal * from *",
            ],
            false,
        ),
        (
            &[
                "allow User:ada WRITE topic literal t from *",
                "deny User:* ALL topic literal t from *",
            ],
            false,
        ),
        (
            &[
                "allow User:ada WRITE topic literal tab from *",
                "deny User:ada ALL topic prefix ta from *",
            ],
            false,
        ),
        (
            &[
                "allow User:ada WRITE topic prefix tab from *",
                "deny User:ada ALL topic prefix ta from *",
            ],
            false,
        ),
        // A shorter prefix reaches beyond a denied longer one.
        (
            &[
                "allow User:ada WRITE topic prefix t from *",
                "deny User:ada ALL topic prefix ta from *",
            ],
            true,
        ),
        // The literal denial of a name that is also a prefix is about that name only.
        (
            &[
                "allow User:ada WRITE topic prefix t from *",
                "deny User:ada ALL topic literal t from *",
            ],
            true,
        ),
        (&["deny User:* ALL topic literal hardcode from *"], false),
    ];
    let ada = Principal::user("ada");
    let root = Principal::user("root");
    for (rules, expected) in table {
        let authorizer = authorizer(settings("root", false), rules);
        let any = |principal| {
            let asker = Asker { principal, host: "10.0.0.1" };
            authorizer.allows_any(asker, Operation::Write, ResourceType::Topic)
        };
        assert_eq!(any(&ada), *expected, "{rules:?}");
        assert!(any(&root), "{rules:?}");
    }
}

#[test]
fn what_is_allowed_is_told_in_kafkas_bits() {
    let authorizer =
        authorizer(AuthorizerSettings::default(), &["allow User:ada READ topic literal t from *"]);
    let ada = Principal::user("ada");
    let asker = Asker { principal: &ada, host: "::1" };
    let bits = authorizer.allowed_operations(asker, ResourceType::Topic, "t");
    assert_eq!(bits, (1 << 3) | (1 << 8), "READ and DESCRIBE");
    assert_eq!(authorizer.allowed_operations(asker, ResourceType::Group, "t"), 0);
    let everything = AuthorizerSettings { super_users: [ada.clone()].into(), ..Default::default() };
    let everything = Authorizer::new(everything, []);
    assert_eq!(everything.allowed_operations(asker, ResourceType::Cluster, "kafka-cluster"), 8096);
}

/// Every rule looked at, as the specification reads.
fn naive(
    settings: &AuthorizerSettings,
    rules: &[Acl],
    asker: Asker<'_>,
    operation: Operation,
    resource: ResourceType,
    name: &str,
) -> (bool, &'static str) {
    if settings.super_users.contains(asker.principal) {
        return (true, "super");
    }
    let about: Vec<&Acl> = rules
        .iter()
        .filter(|rule| rule.resource == resource)
        .filter(|rule| match rule.pattern {
            PatternType::Literal => rule.name == name || rule.name == WILDCARD,
            PatternType::Prefixed => name.starts_with(&rule.name),
        })
        .collect();
    let applies = |rule: &&&Acl| {
        let principal = rule.principal == asker.principal.as_str() || rule.principal == ANYBODY;
        let host = rule.host == WILDCARD || rule.host == asker.host;
        let implied = rule.permission == Permission::Allow && implies(rule.operation, operation);
        let does = rule.operation == Operation::All || rule.operation == operation || implied;
        principal && host && does
    };
    let applying: Vec<&&Acl> = about.iter().filter(applies).collect();
    if applying.iter().any(|rule| rule.permission == Permission::Deny) {
        (false, "rule")
    } else if !applying.is_empty() {
        (true, "rule")
    } else if about.is_empty() {
        (settings.allow_without_rules, "none")
    } else {
        (false, "other")
    }
}

fn acls() -> impl Strategy<Value = Acl> {
    let word = prop_oneof![Just("*".to_owned()), "[ab*]{1,4}", "[aé]{1,3}"];
    let principal =
        prop_oneof![Just("User:*"), Just("User:ada"), Just("User:bob"), Just("User:root")];
    let host = prop_oneof![Just("*"), Just("::1"), Just("::2")];
    ((0..2usize, 0..2usize, word), principal, host, 0..Operation::ALL.len(), 0..2usize).prop_map(
        |((resource, pattern, name), principal, host, operation, permission)| Acl {
            resource: ResourceType::ALL[resource],
            pattern: PatternType::ALL[pattern],
            name,
            principal: principal.to_owned(),
            host: host.to_owned(),
            operation: Operation::ALL[operation],
            permission: Permission::ALL[permission],
        },
    )
}

proptest! {
    #[test]
    fn the_index_answers_as_looking_at_every_rule_does(
        rules in proptest::collection::vec(acls(), 0..24),
        names in proptest::collection::vec("[ab*é]{1,5}", 4),
        open: bool,
    ) {
        let settings = settings("root", open);
        let authorizer = Authorizer::new(settings.clone(), &rules);
        for user in ["ada", "carl", "root"] {
            let principal = Principal::user(user);
            let asker = Asker { principal: &principal, host: "::1" };
            for name in &names {
                for operation in Operation::ALL {
                    let resource = ResourceType::Topic;
                    let expected = naive(&settings, &rules, asker, *operation, resource, name);
                    let verdict = authorizer.authorize(asker, *operation, resource, name);
                    let reason = match &verdict.reason {
                        Reason::SuperUser => "super",
                        Reason::Rule(rule) => {
                            prop_assert!(rules.contains(rule));
                            prop_assert_eq!(verdict.allowed, rule.permission == Permission::Allow);
                            "rule"
                        }
                        Reason::NoRuleApplies => "other",
                        Reason::NoRules => "none",
                    };
                    prop_assert_eq!((verdict.allowed, reason), expected, "{} {} {}", user, operation, name);
                }
            }
        }
    }
}
