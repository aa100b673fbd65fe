"""Train: fit a feed-forward network to the training images, and validate it after each epoch.

Reads data/processed/{train,validation}_{images,labels}.npy and reports/data.json; writes models/model.keras,
reports/history.csv, reports/validation.json (of the saved network; with its temperature, if its logits are scaled) and
data/augmented/examples.npy (an image per class, and augmented versions of it).
An interrupted run resumes after its last epoch. With train.workers above 1, several machines run this stage together.
"""

from mnist.core.data import TEST_IMAGES, read_data_summary
from mnist.core.errors import UserError, run_stage
from mnist.core.files import write_array, write_csv, write_json
from mnist.core.params import read_params
from mnist.core.paths import AUGMENTED, HISTORY, MODEL, VALIDATION
from mnist.model.backend import ComputeParams, use_threads
from mnist.model.network import save_network
from mnist.training.augmentation import Augmentation, augmented_examples
from mnist.training.distributed import DistributedTraining
from mnist.training.fit import COLUMNS, Training
from mnist.training.params import read_training_params
from mnist.training.temperature import divide_logits, fit_temperature
from mnist.training.workers import join_workers


def main() -> None:
    """Run the stage."""
    params, augmentation = read_training_params()
    use_threads(read_params(ComputeParams).threads)
    data = read_data_summary()
    if params.workers > data.sizes["train"]:
        raise UserError(f"params.yaml: train.workers is {params.workers}, more than there are training images")
    if params.temperature_scaling and data.validated_on == TEST_IMAGES:
        key = "preprocess.validation_size"
        raise UserError(f"params.yaml: train.temperature_scaling needs held-out images, but {key} is 0")
    workers = join_workers(params.workers)
    train, held_out = data.load_split("train"), data.load_split("validation")
    arguments = params, augmentation, data, train, held_out
    training = DistributedTraining(workers, *arguments) if workers else Training(*arguments)
    history = training.run()
    layers = training.layers
    last = dict(zip(COLUMNS, history[-1], strict=True))
    if training.is_chief:
        validation = {name: last[name] for name in ("val_accuracy", "val_loss")}
        if params.temperature_scaling:
            temperature, loss = fit_temperature(layers, *held_out)
            if temperature == 1:
                print("train: no held-out image is misclassified, so the temperature is 1; hold out more images")
            layers = divide_logits(layers, temperature)
            validation |= {"val_loss": round(loss, 6), "temperature": round(temperature, 6)}
        save_network(layers, data.dataset, MODEL)
        augment = Augmentation(augmentation, data.image_shape, params.seed)
        write_array(AUGMENTED, augmented_examples(augment, *train, len(data.classes)))
        write_csv(HISTORY, ["epoch", *COLUMNS], ([epoch, *row] for epoch, row in enumerate(history, 1)))
        write_json(VALIDATION, validation)
        training.checkpoint.delete()
    count = sum(layer.kernel.size + layer.bias.size for layer in layers)
    print(f"train: {count:,} weights, validation accuracy {last['val_accuracy']:.4f}")


if __name__ == "__main__":
    run_stage(main)
