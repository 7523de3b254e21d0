//! Everything that is done with a container before anything is made of it.

use apr_format::Container;
use apr_model::{Arch, Census, ModelConfig, Naming, Survey, hf_config, layers_in};
use serde_json::Value;

/// Reads every tensor, and finds out what model it is.
pub fn exercise(container: &Container) {
    let has_data = container.files().iter().all(|file| file.bytes().is_some());
    let mut bytes = 0;
    for entry in container.tensors() {
        let Ok(tensor) = container.tensor(&entry.name) else {
            assert!(!has_data, "{:?} is listed and not there", entry.name);
            continue;
        };
        let view = tensor.view();
        assert_eq!(view.bytes().len(), entry.layout.byte_len());
        bytes += view.bytes().len();
        let rows = entry.layout.row_count();
        if rows > 0 {
            let mut row = vec![f32::NAN; entry.layout.row_elems()];
            assert!(view.decode_rows(rows - 1..rows, &mut row).is_ok());
        }
        let _ = container.check_hash(entry);
    }
    if has_data {
        let all: usize =
            container.files().iter().filter_map(|file| Some(file.bytes()?.len())).sum();
        assert!(bytes <= all, "{bytes} bytes of tensors in {all}");
        let _ = container.check_padding();
    }
    identify(container);
}

fn identify(container: &Container) {
    let naming = Naming::of(container.format());
    let layers = layers_in(container);
    let inferred = Arch::infer(container).ok();
    if let Some((arch, _)) = inferred {
        assert!(arch.weights(layers, naming).len() <= 64 * (layers + 1));
        let _ = Survey::take(arch, None, container, naming);
    }
    let json = match container.metadata().get("config") {
        Some(config) => Ok(config.clone()),
        None => hf_config(container),
    };
    let Ok(json) = json else { return };
    let Ok(config) = ModelConfig::from_json(&json) else { return };
    let _ = Survey::take(config.arch, Some(&config), container, naming);
    if let Ok(census) = Census::take(&config, container, naming) {
        assert!(census.tensors.len() <= container.tensors().len());
        assert!(
            census.tensors.iter().all(
                |tensor| container.entry(tensor.source()).is_some() || tensor.sources.len() > 1
            )
        );
        let _ = census.query_row_order();
    }
    let _ = config.with_generation(container.metadata().get("generation").unwrap_or(&Value::Null));
}
