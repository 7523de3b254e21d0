//! What makes the command line pleasant: completions, manual, doctor, advice, exit codes.

use crate::harness::{Imported, apr, assert_described, heldout, json, model, stdout, text, verbs};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn every_shell_gets_completions_of_every_verb() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&["completions", shell]);
        for verb in verbs() {
            assert!(script.contains(&verb), "{shell} does not know {verb}");
        }
        let document = json(&["completions", shell]);
        assert_eq!(document, json!({"shell": shell, "script": script}));
    }
}

#[test]
fn bash_completes_verbs_flags_and_shells() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("apr.bash");
    fs::write(&script, stdout(&["completions", "bash"])).unwrap();
    let complete = |words: &[&str]| {
        let (count, line) = (words.len() - 1, words.join("' '"));
        let program = format!(
            "source '{}'; COMP_WORDS=('{line}'); COMP_CWORD={count}; _apr apr '{}' '{}'; \
             echo \"${{COMPREPLY[@]}}\"",
            script.display(),
            words[count],
            words[count - 1]
        );
        let output = Command::new("bash").args(["-c", &program]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{words:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete(&["apr", "insp"]), "inspect");
    assert_eq!(complete(&["apr", "import", "--quant"]), "--quantize");
    assert_eq!(complete(&["apr", "completions", "fi"]), "fish");
}

#[test]
fn the_manual_has_a_page_for_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man1");
    let document = json(&["man", text(&pages)]);
    let count = document["pages"].as_array().unwrap().len();
    assert_eq!(count, 1 + verbs().len(), "{document}");
    let read = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    assert!(read("apr.1").contains(".TH apr 1"), "{}", read("apr.1"));
    for verb in verbs() {
        let page = read(&format!("apr-{verb}.1"));
        assert!(page.contains(&format!(".TH apr-{verb} 1")), "{verb}: {page}");
        assert!(page.contains("SYNOPSIS") && page.contains("json"), "{verb}: {page}");
        assert!(read("apr.1").contains(&verb.replace('-', "\\-")), "apr.1 lacks {verb}");
    }
    let printed = stdout(&["man"]);
    assert_eq!(printed, read("apr.1"));
    assert_eq!(json(&["man"])["pages"][0]["text"], json!(printed));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let output = apr(&["man", text(&file)]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a file is no folder");
}

/// A number of a line of a file of /proc, times 1024.
fn kilobytes(file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn the_doctor_says_what_the_machine_is() {
    let document = json(&["doctor"]);
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    let platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    assert_eq!(document["platform"], json!(platform));
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(document["cores"], json!(cores));
    let kernels = document["available_kernels"].as_array().unwrap();
    assert_eq!(kernels[0], "scalar");
    assert_eq!(document["kernels"], *kernels.last().unwrap());
    if Path::new("/proc/meminfo").exists() {
        let total = kilobytes("/proc/meminfo", "MemTotal:");
        assert_eq!(document["memory_bytes"], json!(total));
        assert!(document["available_memory_bytes"].as_u64().unwrap() <= total);
    }
    if let Ok(cpu) = fs::read_to_string("/proc/cpuinfo")
        && let Some(flags) = cpu.lines().find(|line| line.starts_with("flags"))
    {
        let has =
            |feature: &str| document["cpu_features"].as_array().unwrap().contains(&json!(feature));
        for feature in ["avx", "fma", "avx2", "avx512f", "avx512bw"] {
            let flag = flags.split_whitespace().any(|flag| flag == feature);
            assert_eq!(has(feature), flag, "{feature} in {document}");
        }
    }
    let forced = apr(&["doctor", "--json"]).env("APR_KERNELS", "scalar").output().unwrap();
    let forced: Value = serde_json::from_slice(&forced.stdout).unwrap();
    assert_eq!(forced["kernels"], "scalar");
    let unknown = apr(&["doctor"]).env("APR_KERNELS", "abacus").output().unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    let text = stdout(&["doctor"]);
    for part in ["kernels", "memory", "cores", "cache", "writable"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

/// What a failing call says, in one line.
fn complaint(args: &[&str]) -> String {
    let output = apr(&[args, &["--json"]].concat()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{args:?}: {stderr}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_described("error", &document);
    let advice = document["error"]["advice"].as_str().unwrap_or_default();
    assert!(stderr.trim_end().ends_with(advice), "{stderr} lacks {advice:?}");
    stderr
}

#[test]
fn common_mistakes_get_advice() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let source = model("tiny-llama");
    let weights = fs::read(source.join("model.safetensors")).unwrap();
    fs::write(path("tiny.safetensors"), &weights).unwrap();
    fs::write(path("pointer.safetensors"), "version https://git-lfs.github.com/spec/v1\n").unwrap();
    fs::write(path("pytorch_model.bin"), b"PK\x03\x04 and so on").unwrap();
    fs::write(path("page"), "<!DOCTYPE html><html>").unwrap();
    fs::create_dir(path("empty")).unwrap();
    fs::create_dir(path("gguf")).unwrap();
    fs::write(path("gguf/a.gguf"), "").unwrap();
    let config = source.join("config.json");
    for (args, advice) in [
        (
            &["inspect", &path("tinny.safetensors")][..],
            "in its folder there is pointer.safetensors, tiny.safetensors",
        ),
        (&["inspect", &path("no/such/file")], "there is no folder"),
        (&["inspect", "someone/something"], "for a model of the hub write hf://someone/something"),
        (&["inspect", &path("pointer.safetensors")], "run `git lfs pull`"),
        (&["inspect", &path("pytorch_model.bin")], "take the SafeTensors of the same model"),
        (&["inspect", &path("page")], "this is a web page"),
        (&["inspect", text(&config)], "give the folder that it lies in"),
        (&["inspect", &path("gguf")], "give one of its files: a.gguf"),
        (&["inspect", &path("empty")], "apr pull hf://ORG/NAME"),
        (
            &["run", &path("tiny.safetensors"), "-p", "one"],
            "copy the config.json of the published model",
        ),
        (&["import", text(&source), "--plan", "--quantize", "Q4-K-M"], "did you mean q4_k_m?"),
    ] {
        let said = complaint(args);
        assert!(said.contains(advice), "apr {args:?} does not say {advice:?}: {said}");
    }
    let output = apr(&["inpsect", "x"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("'inspect'"), "a wrong verb gets no advice: {stderr}");
}

#[test]
fn exit_codes_are_as_documented() {
    let (stored, folder) =
        (Imported::new("tiny-llama", Some("int8")), tempfile::tempdir().unwrap());
    let (source, other) = (model("tiny-llama"), model("tiny-gpt2"));
    let damaged = folder.path().join("damaged.apr");
    let mut bytes = fs::read(&stored.file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let (source, other, damaged) = (text(&source), text(&other), text(&damaged));
    let calls: [(i32, &[&str]); 17] = [
        (0, &["--version"]),
        (0, &["--help"]),
        (0, &["run", "--help"]),
        (0, &["validate", stored.path()]),
        (0, &["verify", stored.path(), "--against", source]),
        (0, &["import", source, "--quantize", "int4", "--plan"]),
        // A check that fails, and tasks that do.
        (1, &["validate", damaged]),
        (1, &["verify", stored.path(), "--against", other]),
        (1, &["inspect", "/no/such/file"]),
        (1, &["inspect", text(Path::new("/dev/null"))]),
        (1, &["import", source, "--quantize", "int3", "--plan"]),
        (1, &["run", source, "-p", ""]),
        // A command line that says nothing that could be done.
        (2, &[]),
        (2, &["no-such-verb"]),
        (2, &["inspect"]),
        (2, &["inspect", source, "--no-such-flag"]),
        (2, &["run", source, "-p", "one", "-n", "many"]),
    ];
    for (code, args) in calls {
        for quiet in [None, Some("--quiet")] {
            let output = apr(args).args(quiet).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "apr {args:?} {quiet:?}: {stderr}");
            assert_eq!(stderr.is_empty(), code == 0, "apr {args:?} {quiet:?}: {stderr}");
        }
    }
}

#[test]
fn colour_is_a_matter_of_the_environment() {
    let help = |variables: &[(&str, &str)]| {
        let mut command = apr(&["--help"]);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.envs(variables.iter().copied()).output().unwrap().stdout.contains(&0x1B)
    };
    assert!(!help(&[]), "colour although nobody looks");
    assert!(help(&[("CLICOLOR_FORCE", "1")]), "no colour although it is forced");
    assert!(!help(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), "colour in spite of NO_COLOR");
}

#[test]
fn quiet_changes_no_result() {
    let heldout = heldout();
    let source = model("tiny-llama");
    for args in [
        &["run", text(&source), "-p", "one", "-n", "4"][..],
        &["eval", text(&source), "--text", text(&heldout), "--window", "64"],
        &["inspect", text(&source)],
    ] {
        for flag in ["-q", "--quiet"] {
            assert_eq!(stdout(&[args, &[flag]].concat()), stdout(args), "{args:?}");
        }
    }
}

#[test]
fn the_command_line_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let text = fs::read_to_string(path).unwrap();
    for verb in verbs() {
        assert!(text.contains(&format!("`apr {verb}")), "docs/cli.md lacks apr {verb}");
    }
    let variables = ["HF_HUB_CACHE", "HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"];
    for word in [&variables[..], &["NO_COLOR", "APR_KERNELS", "--quiet", "--json"]].concat() {
        assert!(text.contains(word), "docs/cli.md lacks {word}");
    }
}
