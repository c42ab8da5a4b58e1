"""What every training run on TRL shares, so that a trainer's file holds only what is its own.

    class _Trainer(RunTrainer, SFTTrainer): ...             # trainers.runtime.trainer

    model = load_model(AutoModelForCausalLM, settings)      # trainers.base.loading
    trainer = _Trainer(
        model=model,
        args=SFTConfig(**common_arguments(settings)),       # trainers.runtime.arguments
        train_dataset=...,
        processing_class=tokenizer,
        peft_config=lora_config(settings.lora, "CAUSAL_LM"),  # trainers.runtime.lora
    )
    result = run_trainer(trainer, settings, context)        # trainers.runtime.run
    save(trainer.model, tokenizer, settings.output)         # trainers.runtime.saving

`run_trainer` resumes, draws the progress bar, writes `metrics.jsonl`, TensorBoard's files and
checkpoints; `save` merges an adapter and writes the folder that is served.
"""
